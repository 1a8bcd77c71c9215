// The tile of a quantiser: 128 x 128 elements held by 256 threads, and how it is cut from spans, measured, encoded and turned.
#pragma once

#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/device/scaling.cuh"
#include "cuda/launch.hpp"

namespace ragdot::cuda {

inline constexpr int kTile = 128;
inline constexpr int kTileThreads = 256;
inline constexpr int kWarps = kTileThreads / 32;
inline constexpr int kRunColumns = 8;  // of a thread: 16 bytes of bf16
inline constexpr int kRunRows = 8;     // of a thread: two times four rows on end, whose bytes make a word of a column
inline constexpr int kBlock = 128;     // rows or columns that share a scale
inline constexpr unsigned kAllLanes = 0xffffffffU;

/// Thread t holds columns [8 (t % 16), + 8) of rows row_of(t / 16, 0..7).
__host__ __device__ constexpr int row_of(int team, int j) { return 4 * team + j % 4 + 64 * (j / 4); }

/// Where the word of rows [4 quad, + 4) of a column lies in the turned tile: a warp writes 16 columns 8 apart times 2 quads,
/// and reads the 32 quads of one column, each time from 32 banks.
__host__ __device__ constexpr int turned_word(int column, int quad) { return column * 32 + (quad ^ (column / 8 * 2)); }

constexpr bool turned_words_meet_no_bank_twice() {
  for (int fixed = 0; fixed < 8; ++fixed) {  // a thread's column when written; the warp's when read
    std::uint32_t written = 0;
    std::uint32_t read = 0;
    for (int lane = 0; lane < 32; ++lane) {
      written |= 1U << turned_word(lane % 16 * kRunColumns + fixed, lane / 16) % 32;
      read |= 1U << turned_word(13 * kRunColumns + fixed, lane) % 32;
    }
    if (written != 0xffffffffU || read != 0xffffffffU) return false;
  }
  return true;
}
static_assert(turned_words_meet_no_bank_twice());

/// Where a column's factor lies: a warp reads those of 16 columns 8 apart at once.
__host__ __device__ constexpr int factor_slot(int column) { return column % 8 * 16 + column / 8; }

/// Tiles are taken in bands of some tile rows, down each column of a band: neighbours in time then share the cache lines of
/// input rows and the unaligned ends of the runs that a transposed copy is written in.
inline constexpr std::uint32_t kBandRows = 8;
struct TileIndex {
  std::uint32_t row;
  std::uint32_t col;
};
__host__ __device__ constexpr TileIndex tile_at(std::uint32_t t, std::uint32_t row_tiles, std::uint32_t col_tiles) {
  const std::uint32_t band = t / (kBandRows * col_tiles);
  const std::uint32_t rest = t - band * kBandRows * col_tiles;
  const std::uint32_t left = row_tiles - band * kBandRows;
  if (left >= kBandRows) return {band * kBandRows + rest % kBandRows, rest / kBandRows};
  return {band * kBandRows + rest % left, rest / left};
}

constexpr bool every_tile_is_met_once(std::uint32_t row_tiles, std::uint32_t col_tiles) {
  bool met[64] = {};
  for (std::uint32_t t = 0; t < row_tiles * col_tiles; ++t) {
    const TileIndex at = tile_at(t, row_tiles, col_tiles);
    if (at.row >= row_tiles || at.col >= col_tiles || met[at.row * col_tiles + at.col]) return false;
    met[at.row * col_tiles + at.col] = true;
  }
  return true;
}
static_assert(every_tile_is_met_once(1, 5) && every_tile_is_met_once(8, 3) && every_tile_is_met_once(19, 3));

enum class Blocks : std::int32_t { row, column, square };  // 1 x 128, 128 x 1, 128 x 128

/// A copy as the kernel wants it.
struct CopyWork {
  QuantizedCopy to;
  Blocks blocks = Blocks::row;
  bool transposed = false;
};

struct QuantizeWork {
  const void* input = nullptr;
  std::int64_t batch = 1;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t batch_stride = 0;
  std::int64_t row_stride = 0;
  bool whole_runs = false;          // runs of 8 columns lie at multiples of 16 bytes, of 8 in copies that are not transposed
  const void* workspace = nullptr;  // null: no groups
  std::int32_t copies = 0;
  CopyWork copy[2];
};

/// A tile's rows and columns, cut where its span or the columns end.
struct Place {
  std::int32_t batch = 0;
  std::int32_t row = 0;
  std::int32_t col = 0;
  std::int32_t rows = 0;
  std::int32_t cols = 0;
  std::int32_t scale_row_of_block = 0;  // of 128-row blocks
  std::int32_t scale_row_of_rows = 0;   // of 1-row blocks: the first row's
  std::int32_t aligned_row = 0;         // in a copy with aligned groups
  bool outside = false;                 // rows of no group: read as zeros, without scales
};

/// Read anew in each phase of a tile, or this and all addresses that follow from it would be held in registers from phase to
/// phase.
__device__ inline int thread_index() {
#ifdef __CUDA_ARCH__
  int index;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(index));
  return index;
#else
  return static_cast<int>(threadIdx.x);
#endif
}

/// Where this thread's elements lie in a tile.
struct Part {
  int thread = thread_index();
  int team = thread / 16;
  int run = thread % 16;
  int warp = thread / 32;
  int lane = thread % 32;
  int col = run * kRunColumns;
};

struct alignas(16) TileMemory {
  std::uint32_t turned[kTile * kTile / 4];
  std::uint32_t col_amax[kWarps][kTile];  // as the elements' words, of each warp's rows
  std::uint32_t row_amax[kTile];          // f32 bits
  std::uint32_t tile_amax[kWarps];        // f32 bits
  Factor factors[2][kTile];
};

/// Four bytes, to nearest even, saturated; NaN becomes 0x7f.
template <Format kFormat>
__device__ std::uint32_t encoded(float a, float b, float c, float d) {
  constexpr auto kKind = kFormat == Format::e4m3 ? __NV_E4M3 : __NV_E5M2;
  const std::uint32_t low = __nv_cvt_float2_to_fp8x2(make_float2(a, b), __NV_SATFINITE, kKind);
  const std::uint32_t high = __nv_cvt_float2_to_fp8x2(make_float2(c, d), __NV_SATFINITE, kKind);
  return low | high << 16;
}

/// The byte of any x, NaN with its sign.
__device__ inline std::uint8_t encoded_any(Format format, float x, float scale) {
  const float q = __fdiv_rn(x, scale);
  const std::uint32_t bytes = format == Format::e4m3 ? encoded<Format::e4m3>(q, q, q, q) : encoded<Format::e5m2>(q, q, q, q);
  const std::uint32_t bits = __float_as_uint(x);
  const bool negative_nan = bits > 0xff800000U;
  return static_cast<std::uint8_t>(bytes | (negative_nan ? 0x80U : 0U));
}

/// A thread's elements, as the words they are read in.
template <Format kInput>
struct Elements;

template <>
struct Elements<Format::bf16> {
  static constexpr int kWords = 4;  // of eight columns
  std::uint32_t words[kRunRows][kWords];

  __device__ float value(int j, int k) const {
    const std::uint32_t word = words[j][k / 2];
    return __uint_as_float(k % 2 == 0 ? word << 16 : word & 0xffff0000U);
  }
  __device__ void put(int j, int k, const void* from, std::int64_t i) {
    words[j][k / 2] |= static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(from)[i]) << (k % 2 * 16);
  }
  __device__ static float read(const void* from, std::int64_t i) {
    return __uint_as_float(static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(from)[i]) << 16);
  }

  // Magnitudes, two in a word: they order as their bits do.
  template <bool kFiniteOnly>
  __device__ static std::uint32_t magnitudes(std::uint32_t word) {
    const std::uint32_t m = word & 0x7fff7fffU;
    return kFiniteOnly ? m & __vcmpltu2(m, 0x7f807f80U) : m;
  }
  __device__ static std::uint32_t larger(std::uint32_t a, std::uint32_t b) { return __vmaxu2(a, b); }
  /// f32 bits of the larger magnitude of a word, and of one of a row of words.
  __device__ static std::uint32_t largest(std::uint32_t word) {
    const std::uint32_t high = word & 0xffff0000U;
    return high > word << 16 ? high : word << 16;
  }
  __device__ static std::uint32_t magnitude_at(const std::uint32_t* words, int i) {
    const std::uint32_t word = words[i / 2];
    return i % 2 == 0 ? word << 16 : word & 0xffff0000U;
  }

  /// Largest magnitudes (f32 bits) of rows from those of a thread's words, over the 16 threads that hold them. Two rows share a
  /// word on the way.
  __device__ static void largest_of_rows(const std::uint32_t (&mine)[kRunRows], std::uint32_t (&rows)[kRunRows]) {
    for (int i = 0; i < kRunRows / 2; ++i) {
      const std::uint32_t a = mine[2 * i];
      const std::uint32_t b = mine[2 * i + 1];
      std::uint32_t both = __vmaxu2(__byte_perm(a, b, 0x5410), __byte_perm(a, b, 0x7632));
      for (int lanes = 8; lanes > 0; lanes /= 2) both = __vmaxu2(both, __shfl_xor_sync(kAllLanes, both, lanes));
      rows[2 * i] = both << 16;
      rows[2 * i + 1] = both & 0xffff0000U;
    }
  }
};

template <>
struct Elements<Format::f32> {
  static constexpr int kWords = 8;
  std::uint32_t words[kRunRows][kWords];

  __device__ float value(int j, int k) const { return __uint_as_float(words[j][k]); }
  __device__ void put(int j, int k, const void* from, std::int64_t i) {
    words[j][k] = static_cast<const std::uint32_t*>(from)[i];
  }
  __device__ static float read(const void* from, std::int64_t i) { return static_cast<const float*>(from)[i]; }

  template <bool kFiniteOnly>
  __device__ static std::uint32_t magnitudes(std::uint32_t word) {
    const std::uint32_t m = word & 0x7fffffffU;
    return kFiniteOnly && m >= 0x7f800000U ? 0 : m;
  }
  __device__ static std::uint32_t larger(std::uint32_t a, std::uint32_t b) { return a > b ? a : b; }
  __device__ static std::uint32_t largest(std::uint32_t word) { return word; }
  __device__ static std::uint32_t magnitude_at(const std::uint32_t* words, int i) { return words[i]; }

  __device__ static void largest_of_rows(const std::uint32_t (&mine)[kRunRows], std::uint32_t (&rows)[kRunRows]) {
    for (int j = 0; j < kRunRows; ++j) {
      rows[j] = mine[j];
      for (int lanes = 8; lanes > 0; lanes /= 2) rows[j] = larger(rows[j], __shfl_xor_sync(kAllLanes, rows[j], lanes));
    }
  }
};

}  // namespace ragdot::cuda
