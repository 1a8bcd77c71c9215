// gmm and tgmm on Hopper: one persistent kernel. In a block's first warpgroup one warp feeds operands through the copy engine
// and three feed scales; the others multiply 64 rows each. The two blocks of a cluster compute neighbouring columns of the same
// rows: each fetches half of `a` for both.
//
// 8-bit operands: the matrix unit keeps about 14 bits of its sums, so every 128 steps of the reduction its result is scaled and
// added to a second set of registers in f32. Meanwhile the other warpgroups multiply.
#pragma once

#include <type_traits>

#include "cuda/device/out.cuh"
#include "cuda/device/ptx.cuh"
#include "cuda/device/wgmma.cuh"
#include "cuda/device/work.cuh"

namespace ragdot::cuda {

inline constexpr int kRowsPerWarpgroup = 64;
inline constexpr int kLineBytes = 128;  // in a stage, of both operands: the width of the swizzle
inline constexpr int kScaleWarps = 3;

/// One instantiation of the kernel.
template <Op kOpOf, Format kFormatA, Format kFormatB, bool kAcrossOfA, bool kAcrossOfB, Format kOutOf, int kWarpgroupsOf>
struct Shape {
  static constexpr Op kOp = kOpOf;
  static constexpr Format kA = kFormatA;
  static constexpr Format kB = kFormatB;
  static constexpr bool kAcrossA = kAcrossOfA;
  static constexpr bool kAcrossB = kAcrossOfB;
  static constexpr Format kOut = kOutOf;
  static constexpr bool kScaled = kFormatA != Format::bf16;
  static constexpr int kWarpgroups = kWarpgroupsOf;  // that multiply
  static constexpr int kThreads = 128 * (1 + kWarpgroups);
  static constexpr int kRegisters = kWarpgroups == 3 ? 152 : 224;  // of a thread that multiplies
  static constexpr int kRegistersOfFeeders = 56;                   // all together have no more than a block starts with:
  static_assert(128 * (kWarpgroups * kRegisters + kRegistersOfFeeders) <= kThreads * (65536 / kThreads / 8 * 8));
  static constexpr int kRows = kRowsPerWarpgroup * kWarpgroups;
  static constexpr int kCols = kScaled ? 128 : 256;
  static constexpr int kDepth = kScaled ? 128 : 64;              // steps of the reduction in a stage
  static constexpr int kStages = kScaled ? 8 - kWarpgroups : 4;  // as many as there is room for
  static constexpr int kRowsFetched = kRows / kClusterBlocks;    // of `a`, by one block for both
  static constexpr int kBytesA = kRows * kLineBytes;
  static constexpr int kBytesB = kCols * kLineBytes;
  static constexpr int kOperandBytes = kBytesA + kBytesB;
  static constexpr int kScalesB = kOp == Op::gmm ? 4 : kCols;  // gmm: one, padded
  static constexpr int kScaleBytes = kScaled ? (kRows + kScalesB) * 4 : 0;
  // Shared memory: stages, then where warps turn their sums into rows, then scales, then barriers.
  static constexpr int kStaging = kStages * kOperandBytes;
  static constexpr int kScales = kStaging + kWarpgroups * 4 * kStagingBytes;
  static constexpr int kBarriers = kScales + kStages * kScaleBytes;
  static constexpr int kSharedBytes = kBarriers + kStages * 16 + 1024;  // the copy engine's swizzle wants 1024-byte alignment
  static_assert(kSharedBytes <= 232448);
};

/// A tile, as every warp of a block sees it.
struct Work {
  Span span;
  int row;     // first, in the span (gmm) or in K (tgmm)
  int col;     // first of this block
  int blocks;  // of the reduction
};

template <class S>
__device__ __forceinline__ Work work_of(const Parameters& p, int spans, int tile, std::uint32_t rank) {
  Work work;
  work.span = p.spans[find_span(p.spans, spans, tile)];
  const int size = work.span.end - work.span.begin;
  const int row_tiles = ceil_div(S::kOp == Op::gmm ? size : p.k, S::kRows);
  const TilePlace place = place_of(tile - work.span.first_tile, row_tiles, p.pairs);
  work.row = place.row_tile * S::kRows;
  work.col = (place.pair * kClusterBlocks + static_cast<int>(rank)) * S::kCols;
  const int depth = S::kOp == Op::gmm ? p.k : size;
  work.blocks = work.span.matrix < 0 ? 0 : ceil_div(depth, S::kDepth);
  return work;
}

/// The ring of stages, as one role walks it.
template <int kStages>
struct Ring {
  int stage = 0;
  std::uint32_t parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

struct SharedMemory {
  std::uint32_t base;  // aligned to 1024
  const char* pointer;
};

template <class S>
__device__ __forceinline__ std::uint32_t full_barrier(std::uint32_t base, int stage) {
  return base + S::kBarriers + stage * 8;
}
template <class S>
__device__ __forceinline__ std::uint32_t empty_barrier(std::uint32_t base, int stage) {
  return base + S::kBarriers + (S::kStages + stage) * 8;
}

/// tgmm: where a group's rows begin in what its map shows. Along lines the copy engine reads from multiples of 16 bytes on
/// alone; a caller who promised such starts and has others gets a wrong result, no fault.
template <class S, bool kAcross>
__device__ __forceinline__ int first_of_group(const Parameters& p, const Span& span) {
  constexpr int kBytes = S::kScaled ? 1 : 2;
  if (kAcross || begins_aligned(span.begin, kBytes)) return span.begin;
  return p.copied ? static_cast<int>(copied_start(span.begin, span.matrix)) : span.begin / (16 / kBytes) * (16 / kBytes);
}

/// Warp 0: operands.
template <class S>
__device__ __forceinline__ void feed_operands(const Parameters& p, const CUtensorMap* map_a, const CUtensorMap* map_b,
                                              std::uint32_t base, std::uint32_t rank, int first_tile, int tile_step) {
  const bool leader = threadIdx.x == 0;
  const int spans = p.head->spans;
  const int tiles = p.head->tiles;
  Ring<S::kStages> ring;
  for (int tile = first_tile; tile < tiles; tile += tile_step) {
    const Work work = work_of<S>(p, spans, tile, rank);
    if (S::kOp == Op::tgmm && work.blocks > 0) {
      map_a = p.maps + 2 * work.span.matrix;
      map_b = map_a + 1;
      if (leader) {
        ptx::acquire_map(map_a);
        ptx::acquire_map(map_b);
      }
    }
    const int a_line = (S::kOp == Op::gmm ? work.span.begin : 0) + work.row + static_cast<int>(rank) * S::kRowsFetched;
    const int b_batch = S::kOp == Op::gmm ? work.span.matrix : 0;
    const int a_start = S::kOp == Op::gmm ? 0 : first_of_group<S, S::kAcrossA>(p, work.span);
    const int b_start = S::kOp == Op::gmm ? 0 : first_of_group<S, S::kAcrossB>(p, work.span);
    for (int block = 0; block < work.blocks; ++block) {
      ptx::wait(empty_barrier<S>(base, ring.stage), ring.parity ^ 1);
      if (leader) {
        const std::uint32_t barrier = full_barrier<S>(base, ring.stage);
        const std::uint32_t a = base + ring.stage * S::kOperandBytes;
        const std::uint32_t b = a + S::kBytesA;
        const int a_depth = a_start + block * S::kDepth;
        const int b_depth = b_start + block * S::kDepth;
        ptx::expect_bytes(barrier, S::kOperandBytes);
        ptx::copy_box_to_blocks(a + rank * S::kRowsFetched * kLineBytes, map_a, barrier, S::kAcrossA ? a_line : a_depth,
                                S::kAcrossA ? a_depth : a_line, 0, 3);
        if constexpr (S::kAcrossB) {
#pragma unroll
          for (int part = 0; part < S::kCols / 64; ++part) {
            ptx::copy_box(b + part * 64 * kLineBytes, map_b, barrier, work.col + part * 64, b_depth, b_batch);
          }
        } else {
          ptx::copy_box(b, map_b, barrier, b_depth, work.col, b_batch);
        }
      }
      ring.next();
    }
  }
}

/// Place of column `col`'s scale in a stage: what one thread reads at one time, the scales of columns 16 t + 2 q, + 1, + 8 and
/// + 9, lies together.
[[nodiscard]] __host__ __device__ constexpr int place_of_column_scale(int col) {
  return col / 16 * 16 + col % 8 / 2 * 4 + col / 8 % 2 * 2 + col % 2;
}

/// Warps 1 to 3: scales, every third block of the reduction each, read one turn ahead.
template <class S>
__device__ __forceinline__ void feed_scales(const Parameters& p, std::uint32_t base, std::uint32_t rank, int first_tile,
                                            int tile_step) {
  constexpr int kRowsOfLane = S::kRows / 32;
  constexpr int kColsOfLane = S::kOp == Op::gmm ? 1 : S::kCols / 32;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int spans = p.head->spans;
  const int tiles = p.head->tiles;
  int turn = static_cast<int>(threadIdx.x / 32) - 1;  // blocks until this warp's next
  Ring<S::kStages> ring;
  for (int tile = first_tile; tile < tiles; tile += tile_step) {
    const Work work = work_of<S>(p, spans, tile, rank);
    const float* a = p.a_scales.data;
    const float* b = p.b_scales.data;
    int rows;  // that exist
    if constexpr (S::kOp == Op::gmm) {
      rows = work.span.end - work.span.begin - work.row;
      a += (work.span.begin + work.row) * p.a_scales.row_stride;
      b += work.span.matrix * p.b_scales.batch_stride + min(work.col, p.n - 1) / 128 * p.b_scales.col_stride;
    } else {
      rows = p.k - work.row;
      a += work.span.scale_row * p.a_scales.row_stride + work.row * p.a_scales.col_stride;
      b += work.span.scale_row * p.b_scales.row_stride + min(work.col, p.n - 1) * p.b_scales.col_stride;
    }
    const std::int64_t a_line = S::kOp == Op::gmm ? p.a_scales.row_stride : p.a_scales.col_stride;
    const std::int64_t a_step = S::kOp == Op::gmm ? p.a_scales.col_stride : p.a_scales.row_stride;
    const int cols = max(p.n - work.col, 1);  // a tile beyond the last column takes that one's
    float of_rows[kRowsOfLane];
    float of_cols[kColsOfLane];
    const auto read = [&](int block) {  // what does not exist is not used: any number does
      int at = lane;
      asm volatile("" : "+r"(at));  // places are found anew each time: to keep them all took more registers than there are
      const float* row = a + block * a_step;
#pragma unroll
      for (int i = 0; i < kRowsOfLane; ++i) of_rows[i] = __ldg(row + min(at + i * 32, rows - 1) * a_line);
      const float* col = b + block * p.b_scales.row_stride;
#pragma unroll
      for (int i = 0; i < kColsOfLane; ++i) {
        of_cols[i] = __ldg(col + (S::kOp == Op::gmm ? 0 : min(at + i * 32, cols - 1) * p.b_scales.col_stride));
      }
    };
    if (turn < work.blocks) read(turn);
    for (int block = 0; block < work.blocks; ++block) {
      if (block == turn) {
        ptx::wait(empty_barrier<S>(base, ring.stage), ring.parity ^ 1);
        const std::uint32_t to = base + S::kScales + ring.stage * S::kScaleBytes;
#pragma unroll
        for (int i = 0; i < kRowsOfLane; ++i) ptx::store(to + (lane + i * 32) * 4, of_rows[i]);
        const std::uint32_t columns = to + S::kRows * 4;
        if constexpr (S::kOp == Op::gmm) {
          if (lane == 0) ptx::store(columns, of_cols[0]);
        } else {
#pragma unroll
          for (int i = 0; i < kColsOfLane; ++i) ptx::store(columns + place_of_column_scale(lane + i * 32) * 4, of_cols[i]);
        }
        __syncwarp();
        if (lane == 0) ptx::arrive(full_barrier<S>(base, ring.stage));
        turn += kScaleWarps;
        if (turn < work.blocks) read(turn);
      }
      ring.next();
    }
    turn -= work.blocks;
  }
}

/// After the last read of a stage: both blocks of the cluster may write into this one's.
template <class S>
__device__ __forceinline__ void release(std::uint32_t base, int stage) {
  __syncwarp();
  const std::uint32_t lane = threadIdx.x % 32;
  if (lane < kClusterBlocks) ptx::arrive_in_cluster(ptx::address_in_block(empty_barrier<S>(base, stage), lane));
}

/// Waits for a stage and starts its products.
template <class S>
__device__ __forceinline__ void multiply(float (&d)[S::kCols / 2], std::uint32_t base, const Ring<S::kStages>& ring,
                                         int warpgroup, bool add) {
  ptx::wait(full_barrier<S>(base, ring.stage), ring.parity);
  const std::uint32_t a = base + ring.stage * S::kOperandBytes + warpgroup * kRowsPerWarpgroup * kLineBytes;
  const std::uint32_t b = base + ring.stage * S::kOperandBytes + S::kBytesA;
  wgmma::hold(d);
  wgmma::begin();
#pragma unroll
  for (int step = 0; step < kLineBytes / 32; ++step) {
    // 32 bytes of each line along the reduction, or 16 lines across it
    const std::uint64_t at_a =
        wgmma::descriptor(a + step * (S::kAcrossA ? 16 * kLineBytes : 32), 64 * kLineBytes, 8 * kLineBytes);
    const std::uint64_t at_b =
        wgmma::descriptor(b + step * (S::kAcrossB ? 16 * kLineBytes : 32), 64 * kLineBytes, 8 * kLineBytes);
    if constexpr (S::kScaled) {
      wgmma::product<S::kA, S::kB>(d, at_a, at_b, step > 0);
    } else {
      wgmma::product_bf16<S::kAcrossA, S::kAcrossB>(d, at_a, at_b, add || step > 0);
    }
  }
  wgmma::commit();
  wgmma::hold(d);
}

/// Of tgmm's eight reads of column scales those before the products end: one hides the way to shared memory; three cost 2 to 5
/// % and four 10 to 12 % (H100), with registers as short as they are.
inline constexpr int kEarly = 1;

/// The sums of one tile of scaled operands. `row`: the thread's first in the tile; its second is 8 below.
template <class S>
__device__ __forceinline__ void reduce_scaled(float (&sum)[64], const SharedMemory& shared, Ring<S::kStages>& ring, int blocks,
                                              int warpgroup, int row) {
#pragma unroll
  for (int i = 0; i < 64; ++i) sum[i] = 0;
  float d[64];
  for (int block = 0; block < blocks; ++block) {
    multiply<S>(d, shared.base, ring, warpgroup, false);
    const auto* scales = reinterpret_cast<const float*>(shared.pointer + S::kScales + ring.stage * S::kScaleBytes);
    float upper = scales[row];
    float lower = scales[row + 8];
    if constexpr (S::kOp == Op::gmm) {
      upper *= scales[S::kRows];
      lower *= scales[S::kRows];
      wgmma::wait<0>();
      wgmma::hold(d);
      release<S>(shared.base, ring.stage);
#pragma unroll
      for (int i = 0; i < 64; ++i) sum[i] = fmaf(i % 4 < 2 ? upper : lower, d[i], sum[i]);
    } else {
      const auto* columns = reinterpret_cast<const float4*>(scales + S::kRows) + threadIdx.x % 4;
      float4 early[kEarly];
#pragma unroll
      for (int t = 0; t < kEarly; ++t) early[t] = columns[t * 4];
      wgmma::wait<0>();
      wgmma::hold(d);
#pragma unroll
      for (int t = 0; t < 8; ++t) {
        const float4 c = t < kEarly ? early[t] : columns[t * 4];
        const float of_cols[4] = {c.x, c.y, c.z, c.w};
#pragma unroll
        for (int e = 0; e < 8; ++e) {
          const int i = t * 8 + e;
          sum[i] = fmaf((e % 4 < 2 ? upper : lower) * of_cols[e / 4 * 2 + e % 2], d[i], sum[i]);
        }
      }
      release<S>(shared.base, ring.stage);
    }
    ring.next();
  }
}

/// The sums of one tile of bf16 operands, all in the matrix unit.
template <class S>
__device__ __forceinline__ void reduce_plain(float (&sum)[128], const SharedMemory& shared, Ring<S::kStages>& ring, int blocks,
                                             int warpgroup) {
#pragma unroll
  for (int i = 0; i < 128; ++i) sum[i] = 0;
  int last = 0;
  for (int block = 0; block < blocks; ++block) {
    multiply<S>(sum, shared.base, ring, warpgroup, block > 0);
    if (block > 0) {
      wgmma::wait<1>();
      release<S>(shared.base, last);
    }
    last = ring.stage;
    ring.next();
  }
  wgmma::wait<0>();
  wgmma::hold(sum);
  if (blocks > 0) release<S>(shared.base, last);
}

/// Warpgroups 1 and up: products, sums and out.
template <class S>
__device__ __forceinline__ void compute(const Parameters& p, const SharedMemory& shared, std::uint32_t rank, int first_tile,
                                        int tile_step) {
  const int warpgroup = static_cast<int>(threadIdx.x / 128) - 1;
  const int warp = static_cast<int>(threadIdx.x / 32) % 4;
  const int warp_row = warpgroup * kRowsPerWarpgroup + warp * 16;
  const int spans = p.head->spans;
  const int tiles = p.head->tiles;
  Ring<S::kStages> ring;
  for (int tile = first_tile; tile < tiles; tile += tile_step) {
    const Work work = work_of<S>(p, spans, tile, rank);
    if (p.accumulate && work.blocks == 0) continue;
    float sum[S::kCols / 2];
    if constexpr (S::kScaled) {
      reduce_scaled<S>(sum, shared, ring, work.blocks, warpgroup, warp_row + static_cast<int>(threadIdx.x % 32) / 4);
    } else {
      reduce_plain<S>(sum, shared, ring, work.blocks, warpgroup);
    }
    const int rows = S::kOp == Op::gmm ? work.span.end - work.span.begin : p.k;
    const std::int64_t first = S::kOp == Op::gmm ? work.span.begin * p.out_pitch : work.span.matrix * p.out_batch_pitch;
    const std::int64_t at = first + (work.row + warp_row) * p.out_pitch + work.col;
    const int rows_left = rows - work.row - warp_row;
    const int cols_left = p.n - work.col;
    using Out = std::conditional_t<S::kOut == Format::f32, float, __nv_bfloat16>;
    write_rows(p, sum, static_cast<Out*>(p.out) + at, rows_left, cols_left,
               shared.base + S::kStaging + (warpgroup * 4 + warp) * kStagingBytes);
  }
}

template <class S>
__global__ void __cluster_dims__(kClusterBlocks, 1, 1) __launch_bounds__(S::kThreads, 1)
    product_kernel(const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b,
                   const __grid_constant__ Parameters p) {
  extern __shared__ char raw[];
  const std::uint32_t start = ptx::shared_address(raw);
  const std::uint32_t base = (start + 1023U) / 1024U * 1024U;
  const SharedMemory shared{base, raw + (base - start)};
  const std::uint32_t rank = ptx::rank_in_cluster();
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < S::kStages; ++stage) {
      ptx::init_barrier(full_barrier<S>(base, stage), S::kScaled ? 2 : 1);  // who expects the bytes, and who has written scales
      ptx::init_barrier(empty_barrier<S>(base, stage), kClusterBlocks * S::kWarpgroups * 4);  // each warp that multiplies
    }
    ptx::fence_barrier_init();
    if (S::kOp == Op::gmm) {  // tgmm reads through maps of its groups
      ptx::prefetch_map(&map_a);
      ptx::prefetch_map(&map_b);
    }
  }
  ptx::sync_cluster();
  const int first_tile = static_cast<int>(blockIdx.x) / kClusterBlocks;
  const int tile_step = static_cast<int>(gridDim.x) / kClusterBlocks;
  if (threadIdx.x < 128) {
    ptx::give_registers<S::kRegistersOfFeeders>();
    if (threadIdx.x < 32) {
      feed_operands<S>(p, &map_a, &map_b, base, rank, first_tile, tile_step);
    } else if constexpr (S::kScaled) {
      feed_scales<S>(p, base, rank, first_tile, tile_step);
    }
  } else {
    ptx::take_registers<S::kRegisters>();
    compute<S>(p, shared, rank, first_tile, tile_step);
  }
  ptx::sync_cluster();  // a block may not end while the other still writes into it or arrives at its barriers
}

}  // namespace ragdot::cuda
