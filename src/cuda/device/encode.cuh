// From a tile's elements and factors to bytes in memory: row by row straight from registers, or turned in shared memory.
#pragma once

#include "cuda/device/quantize.cuh"

namespace ragdot::cuda {

__device__ inline std::int64_t input_at(const QuantizeWork& work, const Place& place, int row, int col) {
  return place.batch * work.batch_stride + std::int64_t{place.row + row} * work.row_stride + place.col + col;
}

__device__ inline std::uint8_t* values_at(const CopyWork& copy, const Place& place, int row, int col) {
  return static_cast<std::uint8_t*>(copy.to.values) + place.batch * copy.to.batch_stride +
         std::int64_t{place.row + row} * copy.to.row_stride + std::int64_t{place.col + col} * copy.to.col_stride;
}

/// Encodes the thread's elements: to the copy's rows, or turned to shared memory.
template <Format kInput, Format kFormat, bool kByColumn, bool kTransposed>
__device__ void encode(const CopyWork& copy, const Factor* factors, const Place& place, const Elements<kInput>& x,
                       TileMemory& memory) {
  const Part part;
  const auto quotient = [&](int j, int k, Factor factor) { return corrected_quotient(x.value(j, k), factor); };
  const auto row_factor = [&](int j) { return factors[row_of(part.team, j)]; };
  const auto column_factor = [&](int k) { return factors[factor_slot(k) + part.run]; };
  const auto turn = [&](int half, int k, Factor a, Factor b, Factor c, Factor d) {
    const int j = 4 * half;
    memory.turned[turned_word(part.col + k, part.team + 16 * half)] =
        encoded<kFormat>(quotient(j, k, a), quotient(j + 1, k, b), quotient(j + 2, k, c), quotient(j + 3, k, d));
  };
  if constexpr (kTransposed && kByColumn) {
#pragma unroll
    for (int k = 0; k < kRunColumns; ++k) {
      const Factor f = column_factor(k);
      turn(0, k, f, f, f, f);
      turn(1, k, f, f, f, f);
    }
  } else if constexpr (kTransposed) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Factor a = row_factor(4 * half);
      const Factor b = row_factor(4 * half + 1);
      const Factor c = row_factor(4 * half + 2);
      const Factor d = row_factor(4 * half + 3);
#pragma unroll
      for (int k = 0; k < kRunColumns; ++k) turn(half, k, a, b, c, d);
    }
  } else {
    std::uint8_t* first = values_at(copy, place, row_of(part.team, 0), part.col);
    const int rows = part.col < place.cols ? place.rows : 0;
#pragma unroll
    for (int j = 0; j < kRunRows; ++j) {
      if (row_of(part.team, j) >= rows) continue;
      const Factor of_row = row_factor(j);
      float q[kRunColumns];
#pragma unroll
      for (int k = 0; k < kRunColumns; ++k) q[k] = quotient(j, k, kByColumn ? column_factor(k) : of_row);
      *reinterpret_cast<uint2*>(first + row_of(0, j) * copy.to.row_stride) =
          make_uint2(encoded<kFormat>(q[0], q[1], q[2], q[3]), encoded<kFormat>(q[4], q[5], q[6], q[7]));
    }
  }
}

template <Format kInput, Format kFormat>
__device__ void encode_as(const CopyWork& copy, const Factor* factors, const Place& place, const Elements<kInput>& x,
                          TileMemory& memory) {
  const bool by_column = copy.blocks == Blocks::column;
  if (copy.transposed) {
    by_column ? encode<kInput, kFormat, true, true>(copy, factors, place, x, memory)
              : encode<kInput, kFormat, false, true>(copy, factors, place, x, memory);
  } else {
    by_column ? encode<kInput, kFormat, true, false>(copy, factors, place, x, memory)
              : encode<kInput, kFormat, false, false>(copy, factors, place, x, memory);
  }
}

template <Format kInput>
__device__ void encode_in(Format format, const CopyWork& copy, const Factor* factors, const Place& place,
                          const Elements<kInput>& x, TileMemory& memory) {
  if (format == Format::e4m3) {
    encode_as<kInput, Format::e4m3>(copy, factors, place, x, memory);
  } else {
    encode_as<kInput, Format::e5m2>(copy, factors, place, x, memory);
  }
}

/// Of a run of `rows` bytes that begins `ahead` bytes behind an aligned word: where the word lies that ends in a lane's own
/// word of the tile, and whether all of it belongs to the run.
struct RunWord {
  int at;
  bool whole;
};

__device__ inline RunWord run_word(int lane, int ahead, int rows) {
  const int at = 4 * lane - ahead;
  return {at, at >= 0 && at + 4 <= rows};
}

/// The nth byte (of up to 3 on either end, n < 8) that lies in no such word, or -1.
__device__ inline int run_single(int n, int ahead, int rows) {
  const int most = (4 - ahead) & 3;
  const int leading = most < rows ? most : rows;
  const int trailing = (rows - leading) & 3;
  if (n < 4) return n < leading ? n : -1;
  return n - 4 < trailing ? rows - trailing + n - 4 : -1;
}

/// Writes the turned tile, whose runs of bytes may begin anywhere: a warp takes 16 columns, kWarps apart, and puts each aligned
/// word together from two of the tile's.
__device__ inline void write_turned(const CopyWork& copy, const Place& place, const TileMemory& memory) {
  if (copy.to.aligned_groups && place.outside) return;  // no place is theirs
  const Part part;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(memory.turned);
  const std::int64_t step = kWarps * copy.to.col_stride;
  const int columns = (place.cols - part.warp + kWarps - 1) / kWarps;
  std::uint8_t* to = values_at(copy, place, copy.to.aligned_groups ? place.aligned_row - place.row : 0, part.warp);
  // turned_word(i * kWarps + warp, quad): eight columns share a step of the swizzle.
  static_assert(kWarps == 8);
  const auto word_of = [&](int i, int quad) { return i * 256 + ((part.warp * 32 + quad) ^ (2 * i)); };
  const auto byte_of = [&](int i, int row) { return bytes[4 * word_of(i, row / 4) + row % 4]; };
  const auto ahead_of = [](const std::uint8_t* run) { return static_cast<int>(reinterpret_cast<std::uintptr_t>(run) & 3); };

  if ((copy.to.col_stride & 3) == 0) {  // all runs begin alike
    const int ahead = ahead_of(to);
    const RunWord mine = run_word(part.lane, ahead, place.rows);
    std::uint8_t* word_to = to + mine.at;
#pragma unroll
    for (int i = 0; i < kTile / kWarps; ++i, word_to += step) {
      const std::uint32_t word = memory.turned[word_of(i, part.lane)];
      const std::uint32_t before = __shfl_up_sync(kAllLanes, word, 1);
      if (!mine.whole || i >= columns) continue;
      *reinterpret_cast<std::uint32_t*>(word_to) = __funnelshift_l(before, word, static_cast<unsigned>(8 * ahead));
    }
    const int single = run_single(part.lane % 8, ahead, place.rows);
    if (single < 0) return;
    for (int i = part.lane / 8; i < columns; i += 4) to[i * step + single] = byte_of(i, single);
    return;
  }
#pragma unroll 1
  for (int i = 0; i < columns; ++i, to += step) {
    const int ahead = ahead_of(to);
    const RunWord mine = run_word(part.lane, ahead, place.rows);
    const std::uint32_t word = memory.turned[word_of(i, part.lane)];
    const std::uint32_t before = __shfl_up_sync(kAllLanes, word, 1);
    if (mine.whole) {
      *reinterpret_cast<std::uint32_t*>(to + mine.at) = __funnelshift_l(before, word, static_cast<unsigned>(8 * ahead));
    }
    const int single = part.lane < 8 ? run_single(part.lane, ahead, place.rows) : -1;
    if (single >= 0) to[single] = byte_of(i, single);
  }
}

/// Encodes a tile by divisions: any elements, scales and addresses. Reads the tile again.
template <Format kInput>
__device__ void encode_by_division(const QuantizeWork& work, int c, const Place& place, TileMemory& memory) {
  const CopyWork& copy = work.copy[c];
  auto* turned = reinterpret_cast<std::uint8_t*>(memory.turned);
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kTile; i += kTileThreads) {
    const int row = i / kTile;
    const int col = i % kTile;
    if (row >= place.rows || col >= place.cols) continue;
    const float x = place.outside ? 0.0F : Elements<kInput>::read(work.input, input_at(work, place, row, col));
    const Factor factor = memory.factors[c][copy.blocks == Blocks::column ? factor_slot(col) : row];
    const std::uint8_t byte = encoded_any(copy.to.format, x, factor.x);
    if (copy.transposed) {
      turned[4 * turned_word(col, row / 4) + row % 4] = byte;
    } else {
      *values_at(copy, place, row, col) = byte;
    }
  }
}

}  // namespace ragdot::cuda
