// Quantisers: one read of the input makes one or two copies. Blocks of threads walk over 128 x 128 tiles that restart at each
// group's first row; a tile stays in registers from its magnitudes to its bytes, and the next one is on its way while a
// transposed copy is written.
#include "cuda/device/encode.cuh"
#include "cuda/device/errors.cuh"
#include "cuda/device/groups.cuh"
#include "cuda/device/quantize.hpp"
#include "cuda/device/work.cuh"

namespace ragdot::cuda {
namespace {

constexpr std::uint32_t kInfinity = 0x7f800000U;

__device__ const WorkspaceHead& head_of(const QuantizeWork& work) { return *static_cast<const WorkspaceHead*>(work.workspace); }

__device__ std::uint32_t row_tiles_of(const QuantizeWork& work) {
  if (work.workspace != nullptr) return static_cast<std::uint32_t>(head_of(work).tiles);
  return static_cast<std::uint32_t>((work.rows + kTile - 1) / kTile);
}

__device__ Span span_of(const QuantizeWork& work, std::int32_t tile) {
  const auto* spans = reinterpret_cast<const Span*>(static_cast<const char*>(work.workspace) + kSpansOffset);
  return spans[find_span(spans, head_of(work).spans, tile)];
}

__device__ Place place_of(const QuantizeWork& work, std::uint32_t t, std::uint32_t row_tiles, std::uint32_t col_tiles) {
  Place place;
  if (work.batch > 1) {
    place.batch = static_cast<std::int32_t>(t / (row_tiles * col_tiles));
    t %= row_tiles * col_tiles;
  }
  const TileIndex at = tile_at(t, row_tiles, col_tiles);
  auto block = static_cast<std::int32_t>(at.row);
  Span span{0, static_cast<std::int32_t>(work.rows), 0, 0, 0, 0, 0};
  if (work.workspace != nullptr) {
    span = span_of(work, block);
    block -= span.first_tile;
  }
  place.row = span.begin + block * kTile;
  place.col = static_cast<std::int32_t>(at.col) * kTile;
  place.rows = span.end - place.row < kTile ? span.end - place.row : kTile;
  const std::int32_t cols_left = static_cast<std::int32_t>(work.cols) - place.col;
  place.cols = cols_left < kTile ? cols_left : kTile;
  place.scale_row_of_block = span.scale_row + block;
  place.scale_row_of_rows = span.rows_before + block * kTile;
  place.aligned_row = span.aligned_row + block * kTile;
  place.outside = span.matrix < 0;
  return place;
}

/// Whether a tile's rows are runs of 8 columns at addresses for whole loads and stores.
__device__ bool in_whole_runs(const QuantizeWork& work, const Place& place) {
  return work.whole_runs && place.cols % kRunColumns == 0;
}

/// Reads the thread's elements of a tile in whole runs; zeros where the tile ends and in rows of no group.
template <Format kInput>
__device__ void load(const QuantizeWork& work, const Place& place, Elements<kInput>& x) {
  constexpr int kWords = Elements<kInput>::kWords;
  const Part part;
  const int rows = place.outside || !in_whole_runs(work, place) || part.col >= place.cols ? 0 : place.rows;
  const std::int64_t begin = input_at(work, place, row_of(part.team, 0), part.col) * (kWords / 2);
  const auto* first = static_cast<const char*>(work.input) + begin;
  const std::int64_t step = work.row_stride * (kWords / 2);
#pragma unroll
  for (int j = 0; j < kRunRows; ++j) {
    const char* from = first + row_of(0, j) * step;
#pragma unroll
    for (int w = 0; w < kWords; w += 4) {
      uint4 four = make_uint4(0, 0, 0, 0);
      if (row_of(part.team, j) < rows) four = reinterpret_cast<const uint4*>(from)[w / 4];
      x.words[j][w] = four.x;
      x.words[j][w + 1] = four.y;
      x.words[j][w + 2] = four.z;
      x.words[j][w + 3] = four.w;
    }
  }
}

/// The same for any tile, element by element.
template <Format kInput>
__device__ void load_singly(const QuantizeWork& work, const Place& place, Elements<kInput>& x) {
  const Part part;
  const int rows = place.outside ? 0 : place.rows;
#pragma unroll
  for (int j = 0; j < kRunRows; ++j) {
    const int row = row_of(part.team, j);
#pragma unroll
    for (int w = 0; w < Elements<kInput>::kWords; ++w) x.words[j][w] = 0;
#pragma unroll
    for (int k = 0; k < kRunColumns; ++k) {
      if (row < rows && part.col + k < place.cols) x.put(j, k, work.input, input_at(work, place, row, part.col + k));
    }
  }
}

/// Leaves the largest magnitudes of rows (where wanted), of each warp's columns and of each warp in shared memory. Returns the
/// f32 bits of the thread's largest: at least those of Inf if it holds one or a NaN, unless those are passed over.
template <Format kInput, bool kFiniteOnly>
__device__ std::uint32_t measure(const Elements<kInput>& x, bool rows_wanted, TileMemory& memory) {
  using E = Elements<kInput>;
  const Part part;
  std::uint32_t cols[E::kWords];
  std::uint32_t of_rows[kRunRows];
#pragma unroll
  for (int j = 0; j < kRunRows; ++j) {
#pragma unroll
    for (int w = 0; w < E::kWords; ++w) {
      const std::uint32_t m = E::template magnitudes<kFiniteOnly>(x.words[j][w]);
      cols[w] = j == 0 ? m : E::larger(cols[w], m);
      of_rows[j] = w == 0 ? m : E::larger(of_rows[j], m);
    }
  }
  if (rows_wanted) {
    std::uint32_t rows[kRunRows];
    E::largest_of_rows(of_rows, rows);
    if (part.run == 0) {
      auto* to = reinterpret_cast<uint4*>(memory.row_amax);
      to[part.team] = make_uint4(rows[0], rows[1], rows[2], rows[3]);
      to[part.team + 16] = make_uint4(rows[4], rows[5], rows[6], rows[7]);
    }
  }
  std::uint32_t all = cols[0];
#pragma unroll
  for (int w = 1; w < E::kWords; ++w) all = E::larger(all, cols[w]);
  all = E::largest(all);
#pragma unroll
  for (int w = 0; w < E::kWords; ++w) cols[w] = E::larger(cols[w], __shfl_xor_sync(kAllLanes, cols[w], 16));
  if (part.lane < 16) {
    auto* to = reinterpret_cast<uint4*>(memory.col_amax[part.warp] + part.run * E::kWords);
#pragma unroll
    for (int w = 0; w < E::kWords; w += 4) to[w / 4] = make_uint4(cols[w], cols[w + 1], cols[w + 2], cols[w + 3]);
  }
  const std::uint32_t of_warp = __reduce_max_sync(kAllLanes, all);
  if (part.lane == 0) memory.tile_amax[part.warp] = of_warp;
  return all;
}

/// Chooses the tile's scales: half of the threads take a column each, the others a row, or the square as many times. Stores
/// them, leaves factors in shared memory, and returns whether one of the thread's needs divisions.
template <Format kInput>
__device__ bool choose_scales(const QuantizeWork& work, const Place& place, TileMemory& memory) {
  const int thread = thread_index();
  const int i = thread % kTile;
  const bool takes_column = thread < kTile;
  bool divide = false;
  for (int c = 0; c < work.copies; ++c) {
    const CopyWork& copy = work.copy[c];
    if (takes_column != (copy.blocks == Blocks::column)) continue;
    std::uint32_t amax = 0;
    std::int64_t row = place.scale_row_of_block;
    std::int64_t col = place.col / kBlock;
    bool store = !place.outside;
    if (copy.blocks == Blocks::row) {
      amax = memory.row_amax[i];
      row = place.scale_row_of_rows + i;
      store = store && i < place.rows;
    } else if (copy.blocks == Blocks::column) {
      for (int w = 0; w < kWarps; ++w) {
        const std::uint32_t m = Elements<kInput>::magnitude_at(memory.col_amax[w], i);
        amax = m > amax ? m : amax;
      }
      col = place.col + i;
      store = store && i < place.cols;
    } else {
      for (int w = 0; w < kWarps; ++w) amax = memory.tile_amax[w] > amax ? memory.tile_amax[w] : amax;
      store = store && i == 0;
    }
    const float scale = block_scale(copy.to.recipe, copy.to.format, amax);
    memory.factors[c][takes_column ? factor_slot(i) : i] = make_float2(scale, __frcp_rn(scale));
    divide = divide || !corrected_quotient_is_right(__float_as_uint(scale));
    if (store) {
      copy.to
          .scales[place.batch * copy.to.scale_batch_stride + row * copy.to.scale_row_stride + col * copy.to.scale_col_stride] =
          scale;
    }
  }
  return divide;
}

/// All of a tile for which whole runs or corrected quotients will not do. Apart, so that the usual way keeps its registers.
template <Format kInput>
__device__ __noinline__ void quantize_by_division(const QuantizeWork& work, Place place, TileMemory& memory) {
  {
    Elements<kInput> x;
    load_singly(work, place, x);
    measure<kInput, true>(x, true, memory);
  }
  __syncthreads();
  choose_scales<kInput>(work, place, memory);
  __syncthreads();
  for (int c = 0; c < work.copies; ++c) {
    encode_by_division<kInput>(work, c, place, memory);
    if (!work.copy[c].transposed) continue;
    __syncthreads();
    write_turned(work.copy[c], place, memory);
    __syncthreads();
  }
}

/// Scales behind those of the last group cover nothing.
__device__ void fill_unused_scales(const QuantizeWork& work) {
  for (int c = 0; c < work.copies; ++c) {
    const CopyWork& copy = work.copy[c];
    const bool by_row = copy.blocks == Blocks::row;
    std::int64_t used = by_row ? work.rows : (work.rows + kBlock - 1) / kBlock;
    if (work.workspace != nullptr) used = by_row ? head_of(work).group_rows : head_of(work).scale_rows;
    const std::int64_t cols = copy.blocks == Blocks::column ? work.cols : (work.cols + kBlock - 1) / kBlock;
    const std::int64_t unused = copy.to.scale_rows - used;
    if (unused <= 0) continue;
    const std::int64_t step = std::int64_t{gridDim.x} * kTileThreads;
    for (std::int64_t i = std::int64_t{blockIdx.x} * kTileThreads + threadIdx.x; i < work.batch * unused * cols; i += step) {
      const std::int64_t row = i / cols;
      copy.to.scales[row / unused * copy.to.scale_batch_stride + (used + row % unused) * copy.to.scale_row_stride +
                     i % cols * copy.to.scale_col_stride] = 1.0F;
    }
  }
}

/// Blocks of threads that a multiprocessor holds. A third would take registers from each, and was slower.
constexpr int kResident = 2;

template <Format kInput>
__global__ void __launch_bounds__(kTileThreads, kResident) quantize_tiles(const __grid_constant__ QuantizeWork work) {
  __shared__ TileMemory memory;
  fill_unused_scales(work);
  const std::uint32_t row_tiles = row_tiles_of(work);
  const auto col_tiles = static_cast<std::uint32_t>((work.cols + kTile - 1) / kTile);
  const std::uint32_t tiles = row_tiles * col_tiles * static_cast<std::uint32_t>(work.batch);
  bool rows_wanted = false;
  for (int c = 0; c < work.copies; ++c) rows_wanted = rows_wanted || work.copy[c].blocks == Blocks::row;

  std::uint32_t t = blockIdx.x;
  if (t >= tiles) return;
  Place place = place_of(work, t, row_tiles, col_tiles);
  Elements<kInput> x;
  load(work, place, x);
  while (t < tiles) {
    const std::uint32_t most = measure<kInput, false>(x, rows_wanted, memory);
    bool divide = __syncthreads_or(most >= kInfinity || !in_whole_runs(work, place)) != 0;
    if (!divide) divide = __syncthreads_or(choose_scales<kInput>(work, place, memory)) != 0;
    if (divide) quantize_by_division<kInput>(work, place, memory);
    t += gridDim.x;
    for (int c = divide ? work.copies - 1 : 0; c < work.copies; ++c) {
      const CopyWork& copy = work.copy[c];
      const Place here = place;
      if (!divide) encode_in(copy.to.format, copy, memory.factors[c], here, x, memory);
      const bool last = c + 1 == work.copies;
      if (last && t < tiles) {
        place = place_of(work, t, row_tiles, col_tiles);
        load(work, place, x);
      }
      if (divide || !copy.transposed) continue;
      __syncthreads();
      write_turned(copy, here, memory);
      if (!last) __syncthreads();
    }
  }
}

Blocks blocks_of(const QuantizedCopy& copy) {
  return copy.block_rows == 1 ? Blocks::row : copy.block_cols == 1 ? Blocks::column : Blocks::square;
}

bool all_multiples(std::int64_t of, const void* address, std::int64_t row_bytes, std::int64_t batch_bytes) {
  return reinterpret_cast<std::uintptr_t>(address) % static_cast<std::uintptr_t>(of) == 0 && row_bytes % of == 0 &&
         batch_bytes % of == 0;
}

/// What is to be done; the copy whose writing hides the next tile's loads, a transposed one, comes last.
QuantizeWork work_of(const Quantize& args) {
  const std::int64_t bytes = element_bytes(args.input_format);
  QuantizeWork work;
  work.input = args.input;
  work.batch = args.batch;
  work.rows = args.rows;
  work.cols = args.cols;
  work.batch_stride = args.batch_stride;
  work.row_stride = args.row_stride;
  work.whole_runs = all_multiples(16, args.input, args.row_stride * bytes, args.batch > 1 ? args.batch_stride * bytes : 0);
  work.workspace = args.groups.count > 0 ? args.workspace : nullptr;
  for (const bool transposed : {false, true}) {
    for (const QuantizedCopy* copy : {&args.first, &args.second}) {
      if (copy->values == nullptr || (copy->col_stride != 1) != transposed) continue;
      work.copy[work.copies++] = {*copy, blocks_of(*copy), transposed};
      work.whole_runs = work.whole_runs && (transposed || all_multiples(kRunColumns, copy->values, copy->row_stride,
                                                                        args.batch > 1 ? copy->batch_stride : 0));
    }
  }
  return work;
}

/// At most as many tiles as any group numbers give.
std::int64_t most_tiles(const Quantize& args) {
  const std::int64_t extra = args.groups.count > 0 ? most_spans(Op::gmm, args.groups.count) : 1;
  return (args.rows / kTile + extra) * ((args.cols + kTile - 1) / kTile) * args.batch;
}

}  // namespace

const char* quantize(const Quantize& args, void* stream) {
  const QuantizeWork work = work_of(args);
  if (work.copies == 0 && args.aligned_starts == nullptr) return nullptr;
  const std::int64_t tiles = most_tiles(args);
  constexpr std::int64_t kMost = (std::int64_t{1} << 31) - kTile;  // indices have 32 bits, offsets 64
  if (args.rows > kMost || args.cols > kMost || tiles > kMost) {
    return "there are more than 2^31 rows, columns or tiles of 128 x 128 elements, which the quantiser's kernels cannot count";
  }
  int device = 0;
  int most = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&most, cudaDevAttrMultiProcessorCount, device);
  if (error == cudaSuccess && work.workspace != nullptr) {
    GroupNumbers groups = args.groups;
    groups.first = 0;
    groups.local = groups.count;
    error = find_spans(groups, {args.rows, true, false, kTile, 1, args.aligned_starts, args.aligned_sizes}, args.workspace,
                       static_cast<cudaStream_t>(stream));
  }
  if (error != cudaSuccess) return sentence(error);
  const std::int64_t multiprocessors = args.multiprocessors > 0 && args.multiprocessors < most ? args.multiprocessors : most;
  const std::int64_t resident = multiprocessors * kResident;
  const auto blocks = static_cast<unsigned>(tiles < 1 ? 1 : tiles < resident ? tiles : resident);
  if (args.input_format == Format::bf16) {
    quantize_tiles<Format::bf16><<<blocks, kTileThreads, 0, static_cast<cudaStream_t>(stream)>>>(work);
  } else {
    quantize_tiles<Format::f32><<<blocks, kTileThreads, 0, static_cast<cudaStream_t>(stream)>>>(work);
  }
  return sentence(cudaGetLastError());
}

}  // namespace ragdot::cuda
