// gmm and tgmm on Hopper: one persistent kernel. One thread of a block feeds operands through the copy engine, two warpgroups
// multiply 64 rows each. The two blocks of a cluster compute neighbouring columns of the same rows: each fetches half
// of `a` for both.
//
// 8-bit operands: the matrix unit keeps about 14 bits of its sums, so every 128 steps of the reduction its result is scaled and added
// to a second set of registers in f32. Its next product runs meanwhile in a third set.
#pragma once

#include <cuda_bf16.h>

#include <type_traits>

#include "cuda/device/ptx.cuh"
#include "cuda/device/wgmma.cuh"
#include "cuda/device/work.cuh"

namespace ragdot::cuda {

inline constexpr int kDepthBytes = 128;  // of both operands in a stage: the width of the swizzle
inline constexpr int kRowsPerWarpgroup = 64;
inline constexpr int kThreads = 384;
inline constexpr int kLineBytes = 128;
inline constexpr int kHalfA = kRowsPerWarpgroup * kLineBytes;  // what one block fetches of `a`, and one warpgroup multiplies
inline constexpr int kStagingBytes = 16 * 128;                 // for each warp: 16 rows of 64 bf16

/// One instantiation of the kernel.
template <Op kOpOf, Format kFormatA, Format kFormatB, bool kAcrossOfA, bool kAcrossOfB, Format kOutOf>
struct Shape {
  static constexpr Op kOp = kOpOf;
  static constexpr Format kA = kFormatA;
  static constexpr Format kB = kFormatB;
  static constexpr bool kAcrossA = kAcrossOfA;
  static constexpr bool kAcrossB = kAcrossOfB;
  static constexpr Format kOut = kOutOf;
  static constexpr bool kScaled = kFormatA != Format::bf16;
  static constexpr int kCols = kScaled ? 128 : 256;
  static constexpr int kDepth = kScaled ? 128 : 64;  // steps of the reduction in a stage
  static constexpr int kStages = kScaled ? RAGDOT_STAGES : 4;
  static constexpr int kBytesB = kCols * kLineBytes;
  static constexpr int kOperandBytes = 2 * kHalfA + kBytesB;
  static constexpr bool kScalesInStages = kScaled && kOp == Op::tgmm;  // gmm's threads fetch their own three
  static constexpr int kScaleBytes = kScalesInStages ? (kTileRows + kCols) * 4 : 0;
  // Shared memory: stages, then what warps turn into rows of bf16, then scales, then barriers.
  static constexpr int kStaging = kStages * kOperandBytes;
  static constexpr int kScales = kStaging + (kOut == Format::bf16 ? 8 * kStagingBytes : 0);
  static constexpr int kBarriers = kScales + kStages * kScaleBytes;
  static constexpr int kSharedBytes = kBarriers + kStages * 16 + 1024;  // the copy engine's swizzle wants 1024-byte alignment
};

struct Parameters {
  const WorkspaceHead* head;
  const Span* spans;
  const CUtensorMap* maps;  // tgmm: two for each local group
  int k;
  int n;
  int pairs;  // pairs of column tiles
  ScaleGrid a_scales;
  ScaleGrid b_scales;
  void* out;
  std::int64_t out_pitch;
  std::int64_t out_batch_pitch;
  bool accumulate;
  bool aligned_rows;  // out's rows can be written 16 bytes (bf16) or 8 bytes (f32) at a time
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
  const int row_tiles = ceil_div(S::kOp == Op::gmm ? size : p.k, kTileRows);
  const TilePlace place = place_of(tile - work.span.first_tile, row_tiles, p.pairs);
  work.row = place.row;
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

/// tgmm's scales of one tile, block after block of the reduction: one for each of its rows and columns.
class TileScales {
 public:
  __device__ __forceinline__ TileScales(const Parameters& p, const Work& work)
      : a_(p.a_scales.data + work.span.scale_row * p.a_scales.row_stride + work.row),
        b_(p.b_scales.data + work.span.scale_row * p.b_scales.row_stride + work.col),
        rows_(min(p.k - work.row, kTileRows)),
        cols_(max(min(p.n - work.col, kTileRows), 0)),
        a_step_(static_cast<int>(p.a_scales.row_stride)),
        b_step_(static_cast<int>(p.b_scales.row_stride)) {}

  /// What the copy engine takes, 16 bytes at a time.
  __device__ __forceinline__ std::uint32_t bytes() const { return (rows_ / 4 + cols_ / 4) * 16; }

  /// The one to three that it does not, at the right and lower edge of out.
  __device__ __forceinline__ void copy_rest(std::uint32_t to) const {
#pragma unroll 1
    for (int i = rows_ / 4 * 4; i < rows_; ++i) ptx::store(to + i * 4, a_[i]);
#pragma unroll 1
    for (int i = cols_ / 4 * 4; i < cols_; ++i) ptx::store(to + (kTileRows + i) * 4, b_[i]);
  }

  __device__ __forceinline__ void copy(std::uint32_t to, std::uint32_t barrier) {
    if (rows_ >= 4) ptx::copy_bytes(to, a_, rows_ / 4 * 16, barrier);
    if (cols_ >= 4) ptx::copy_bytes(to + kTileRows * 4, b_, cols_ / 4 * 16, barrier);
    a_ += a_step_;
    b_ += b_step_;
  }

 private:
  const float* a_;
  const float* b_;
  int rows_;
  int cols_;
  int a_step_;
  int b_step_;
};
struct NoScales {
  __device__ __forceinline__ NoScales(const Parameters&, const Work&) {}
  __device__ __forceinline__ static std::uint32_t bytes() { return 0; }
};

/// One warp: operands, and tgmm's scales.
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
    const int a_line = (S::kOp == Op::gmm ? work.span.begin : 0) + work.row + static_cast<int>(rank) * kRowsPerWarpgroup;
    const int b_batch = S::kOp == Op::gmm ? work.span.matrix : 0;
    std::conditional_t<S::kScalesInStages, TileScales, NoScales> scales(p, work);
    for (int block = 0; block < work.blocks; ++block) {
      ptx::wait(empty_barrier<S>(base, ring.stage), ring.parity ^ 1);
      if (leader) {
        const std::uint32_t barrier = full_barrier<S>(base, ring.stage);
        if constexpr (S::kScalesInStages) scales.copy_rest(base + S::kScales + ring.stage * S::kScaleBytes);
        const std::uint32_t a = base + ring.stage * S::kOperandBytes;
        const std::uint32_t b = a + 2 * kHalfA;
        const int depth = (S::kOp == Op::gmm ? 0 : work.span.begin) + block * S::kDepth;
        ptx::expect_bytes(barrier, S::kOperandBytes + scales.bytes());
        if constexpr (S::kScalesInStages) scales.copy(base + S::kScales + ring.stage * S::kScaleBytes, barrier);
        ptx::copy_box_to_blocks(a + rank * kHalfA, map_a, barrier, S::kAcrossA ? a_line : depth, S::kAcrossA ? depth : a_line, 0, 3);
        if constexpr (S::kAcrossB) {
#pragma unroll
          for (int part = 0; part < S::kCols / 64; ++part) {
            ptx::copy_box(b + part * 64 * kLineBytes, map_b, barrier, work.col + part * 64, depth, b_batch);
          }
        } else {
          ptx::copy_box(b, map_b, barrier, depth, work.col, b_batch);
        }
      }
      ring.next();
    }
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
__device__ __forceinline__ void multiply(float (&d)[S::kCols / 2], std::uint32_t base, const Ring<S::kStages>& ring, int warpgroup,
                                         bool add) {
  ptx::wait(full_barrier<S>(base, ring.stage), ring.parity);
  const std::uint32_t a = base + ring.stage * S::kOperandBytes + warpgroup * kHalfA;
  const std::uint32_t b = base + ring.stage * S::kOperandBytes + 2 * kHalfA;
  wgmma::hold(d);
  wgmma::begin();
#pragma unroll
  for (int step = 0; step < kDepthBytes / 32; ++step) {
    // 32 bytes of each line along the reduction, or 16 lines across it
    const std::uint64_t at_a = wgmma::descriptor(a + step * (S::kAcrossA ? 16 * kLineBytes : 32), 64 * kLineBytes, 8 * kLineBytes);
    const std::uint64_t at_b = wgmma::descriptor(b + step * (S::kAcrossB ? 16 * kLineBytes : 32), 64 * kLineBytes, 8 * kLineBytes);
    if constexpr (S::kScaled) {
      wgmma::product<S::kA, S::kB>(d, at_a, at_b, step > 0);
    } else {
      wgmma::product_bf16<S::kAcrossA, S::kAcrossB>(d, at_a, at_b, add || step > 0);
    }
  }
  wgmma::commit();
  wgmma::hold(d);
}

/// gmm's scales for one thread's part of a tile: of two rows, and one of the weights. Read two blocks of the reduction ahead.
class RowFactors {
 public:
  static constexpr bool kInStages = false;

  __device__ __forceinline__ RowFactors(const Parameters& p, const Work& work, int row) : left_(work.blocks) {
    if (work.blocks == 0) return;
    const int last = work.span.end - work.span.begin - 1;  // rows behind it are computed, but not written
    const int upper = min(work.row + row, last);
    const int lower = min(work.row + row + 8, last);
    upper_ = p.a_scales.data + (work.span.begin + upper) * p.a_scales.row_stride;
    lower_ = p.a_scales.data + (work.span.begin + lower) * p.a_scales.row_stride;
    b_ = p.b_scales.data + work.span.matrix * p.b_scales.batch_stride + min(work.col, p.n - 1) / 128 * p.b_scales.col_stride;
    a_step_ = p.a_scales.col_stride;
    b_step_ = p.b_scales.row_stride;
    read<0>();
    read<1>();
  }

  /// The factors of the next block, whose number is even or odd.
  template <int kParity>
  __device__ __forceinline__ void take(const SharedMemory&, int) {
    upper_factor_ = read_[kParity].upper * read_[kParity].b;
    lower_factor_ = read_[kParity].lower * read_[kParity].b;
    read<kParity>();
  }

  /// sum += factors * d
  __device__ __forceinline__ void promote(float (&sum)[64], const float (&d)[64]) const {
#pragma unroll
    for (int i = 0; i < 64; ++i) sum[i] = fmaf(i % 4 < 2 ? upper_factor_ : lower_factor_, d[i], sum[i]);
  }

 private:
  struct Read {
    float upper;
    float lower;
    float b;
  };

  template <int kParity>
  __device__ __forceinline__ void read() {
    // Behind the last block the last is read again: a branch here would make the compiler wait for products under way.
    read_[kParity] = {__ldg(upper_), __ldg(lower_), __ldg(b_)};
    --left_;
    upper_ += left_ > 0 ? a_step_ : 0;
    lower_ += left_ > 0 ? a_step_ : 0;
    b_ += left_ > 0 ? b_step_ : 0;
  }

  int left_;
  const float* upper_;
  const float* lower_;
  const float* b_;
  std::int64_t a_step_;
  std::int64_t b_step_;
  Read read_[2];
  float upper_factor_;
  float lower_factor_;
};

/// tgmm's: of two rows and of all columns that the thread has, from the stage.
class TileFactors {
 public:
  static constexpr bool kInStages = true;

  __device__ __forceinline__ TileFactors(const Parameters&, const Work&, int row) : row_(row) {}

  template <int kParity>
  __device__ __forceinline__ void take(const SharedMemory& shared, int scales_at) {
    const auto* scales = reinterpret_cast<const float*>(shared.pointer + scales_at);
    upper_ = scales[row_];
    lower_ = scales[row_ + 8];
    const auto* pairs = reinterpret_cast<const float2*>(scales + kTileRows) + threadIdx.x % 4;
#pragma unroll
    for (int j = 0; j < 16; ++j) columns_[j] = pairs[j * 4];
  }

  __device__ __forceinline__ void promote(float (&sum)[64], const float (&d)[64]) const {
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      sum[j * 4] = fmaf(upper_, columns_[j].x * d[j * 4], sum[j * 4]);
      sum[j * 4 + 1] = fmaf(upper_, columns_[j].y * d[j * 4 + 1], sum[j * 4 + 1]);
      sum[j * 4 + 2] = fmaf(lower_, columns_[j].x * d[j * 4 + 2], sum[j * 4 + 2]);
      sum[j * 4 + 3] = fmaf(lower_, columns_[j].y * d[j * 4 + 3], sum[j * 4 + 3]);
    }
  }

 private:
  int row_;
  float upper_;
  float lower_;
  float2 columns_[16];
};

#ifdef RAGDOT_SERIAL
template <class S, class Factors>
__device__ __forceinline__ void reduce_scaled(float (&sum)[64], const SharedMemory& shared, Ring<S::kStages>& ring, int blocks,
                                              int warpgroup, Factors factors) {
#pragma unroll
  for (int i = 0; i < 64; ++i) sum[i] = 0;
  float d[64];
  const auto once = [&](auto parity) {
    multiply<S>(d, shared.base, ring, warpgroup, false);
    factors.template take<decltype(parity)::value>(shared, S::kScales + ring.stage * S::kScaleBytes);
    wgmma::wait<0>();
    wgmma::hold(d);
    release<S>(shared.base, ring.stage);
    factors.promote(sum, d);
    ring.next();
  };
  for (; blocks >= 2; blocks -= 2) {
    once(std::integral_constant<int, 0>{});
    once(std::integral_constant<int, 1>{});
  }
  if (blocks > 0) once(std::integral_constant<int, 0>{});
}
#else
/// The products of one block of the reduction wait to be added while those of the next are under way.
template <class S, class Factors>
struct Overlap {
  const SharedMemory& shared;
  Ring<S::kStages>& ring;
  int warpgroup;
  Factors factors;
  int stage;  // of the products that wait

  __device__ __forceinline__ void start(float (&d)[64]) {
    multiply<S>(d, shared.base, ring, warpgroup, false);
    stage = ring.stage;
    ring.next();
  }

  /// Starts the next products, and adds those that wait.
  template <int kParity>
  __device__ __forceinline__ void step(float (&sum)[64], float (&d)[64], float (&next)[64]) {
    if constexpr (!Factors::kInStages) factors.template take<kParity>(shared, 0);
    const bool there = __all_sync(0xffffffffU, ptx::test(full_barrier<S>(shared.base, ring.stage), ring.parity));
    if (!there) {  // whoever fetches the next stage may need this one back first
      wgmma::wait<0>();
      if constexpr (!Factors::kInStages) release<S>(shared.base, stage);
    }
    multiply<S>(next, shared.base, ring, warpgroup, false);
    wgmma::wait<1>();
    wgmma::hold(d);
    if constexpr (Factors::kInStages) {
      factors.template take<kParity>(shared, S::kScales + stage * S::kScaleBytes);
    } else if (there) {
      release<S>(shared.base, stage);
    }
    factors.promote(sum, d);
    if constexpr (Factors::kInStages) release<S>(shared.base, stage);
    stage = ring.stage;
    ring.next();
  }

  template <int kParity>
  __device__ __forceinline__ void finish(float (&sum)[64], float (&d)[64]) {
    factors.template take<kParity>(shared, S::kScales + stage * S::kScaleBytes);
    wgmma::wait<0>();
    wgmma::hold(d);
    release<S>(shared.base, stage);
    factors.promote(sum, d);
  }
};

/// The sums of one tile of scaled operands.
template <class S, class Factors>
__device__ __forceinline__ void reduce_scaled(float (&sum)[64], const SharedMemory& shared, Ring<S::kStages>& ring, int blocks,
                                              int warpgroup, const Factors& factors) {
#pragma unroll
  for (int i = 0; i < 64; ++i) sum[i] = 0;
  if (blocks == 0) return;
  Overlap<S, Factors> overlap{shared, ring, warpgroup, factors, 0};
  float even[64];
  float odd[64];
  overlap.start(even);
  int left = blocks - 1;
  for (; left >= 2; left -= 2) {
    overlap.template step<0>(sum, even, odd);
    overlap.template step<1>(sum, odd, even);
  }
  if (left == 0) {
    overlap.template finish<0>(sum, even);
  } else {
    overlap.template step<0>(sum, even, odd);
    overlap.template finish<1>(sum, odd);
  }
}
#endif

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

/// No negative zero, and one NaN.
__device__ __forceinline__ float canonical(float x) {
  x += 0.0F;
  return x != x ? __uint_as_float(0x7fc00000U) : x;
}
/// Two of them as bf16, rounded to nearest even.
__device__ __forceinline__ std::uint32_t bf16_pair(float low, float high) {
  const __nv_bfloat162 zero = __floats2bfloat162_rn(0.0F, 0.0F);
  const __nv_bfloat162 pair = __hadd2_rn(__floats2bfloat162_rn(low, high), zero);
  const std::uint32_t nan = ~__heq2_mask(pair, pair);
  return (reinterpret_cast<const std::uint32_t&>(pair) & ~nan) | (nan & 0x7fc07fc0U);
}

template <int kCount>
__device__ __forceinline__ void write_f32(const Parameters& p, const float (&sum)[kCount], float* row_8, int rows_left, int cols_left) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane / 4 + half * 8;
    if (row >= rows_left) continue;
    float* at = row_8 + row * p.out_pitch + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kCount / 4; ++j) {
      const int col = j * 8 + lane % 4 * 2;
      float2 value = {canonical(sum[j * 4 + half * 2]), canonical(sum[j * 4 + half * 2 + 1])};
      if (p.aligned_rows && col + 1 < cols_left) {
        auto* pair = reinterpret_cast<float2*>(at + j * 8);
        if (p.accumulate) {
          const float2 before = *pair;
          value = {canonical(before.x + value.x), canonical(before.y + value.y)};
        }
        *pair = value;
        continue;
      }
      if (col < cols_left) at[j * 8] = p.accumulate ? canonical(at[j * 8] + value.x) : value.x;
      if (col + 1 < cols_left) at[j * 8 + 1] = p.accumulate ? canonical(at[j * 8 + 1] + value.y) : value.y;
    }
  }
}

template <int kCount>
__device__ __forceinline__ void write_bf16(const Parameters& p, const float (&sum)[kCount], __nv_bfloat16* rows, int rows_left,
                                           int cols_left, std::uint32_t staging) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int round = 0; round < kCount / 32; ++round) {  // 64 columns each
    __syncwarp();
#pragma unroll
    for (int j = 0; j < 8; j += 2) {  // 16-byte pieces of a row lie at their number xor the row's, so that no bank is hit twice
      const float* d = sum + round * 32 + j * 4;
      const int row = lane % 8 + (lane / 8 & 1) * 8;
      const int piece = j + lane / 16;
      ptx::store_matrices(staging + row * 128 + (piece ^ (row & 7)) * 16, bf16_pair(d[0], d[1]), bf16_pair(d[2], d[3]),
                          bf16_pair(d[4], d[5]), bf16_pair(d[6], d[7]));
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = i * 4 + lane / 8;
      const int piece = lane % 8;
      const int col = round * 64 + piece * 8;
      const uint4 value = ptx::load_16_bytes(staging + row * 128 + (piece ^ (row & 7)) * 16);
      if (row >= rows_left || col >= cols_left) continue;
      __nv_bfloat16* at = rows + row * p.out_pitch + col;
      if (p.aligned_rows && col + 8 <= cols_left) {
        *reinterpret_cast<uint4*>(at) = value;
        continue;
      }
      const std::uint32_t words[4] = {value.x, value.y, value.z, value.w};
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        if (col + e < cols_left) at[e] = __ushort_as_bfloat16(static_cast<unsigned short>(words[e / 2] >> (e % 2 * 16)));
      }
    }
  }
}

/// Warpgroups 1 and 2: products, sums and out.
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
      using Factors = std::conditional_t<S::kOp == Op::gmm, RowFactors, TileFactors>;
      const Factors factors(p, work, warp_row + static_cast<int>(threadIdx.x % 32) / 4);
      reduce_scaled<S>(sum, shared, ring, work.blocks, warpgroup, factors);
    } else {
      reduce_plain<S>(sum, shared, ring, work.blocks, warpgroup);
    }
    const int rows = S::kOp == Op::gmm ? work.span.end - work.span.begin : p.k;
    const std::int64_t first = S::kOp == Op::gmm ? work.span.begin * p.out_pitch : work.span.matrix * p.out_batch_pitch;
    const std::int64_t at = first + (work.row + warp_row) * p.out_pitch + work.col;
    const int rows_left = rows - work.row - warp_row;
    const int cols_left = p.n - work.col;
    if constexpr (S::kOut == Format::f32) {
      write_f32(p, sum, static_cast<float*>(p.out) + at, rows_left, cols_left);
    } else {
      write_bf16(p, sum, static_cast<__nv_bfloat16*>(p.out) + at, rows_left, cols_left,
                 shared.base + S::kStaging + (warpgroup * 4 + warp) * kStagingBytes);
    }
  }
}

template <class S>
__global__ void __cluster_dims__(kClusterBlocks, 1, 1) __launch_bounds__(kThreads, 1)
    product_kernel(const __grid_constant__ CUtensorMap map_a, const __grid_constant__ CUtensorMap map_b,
                   const __grid_constant__ Parameters p) {
  extern __shared__ char raw[];
  const std::uint32_t start = ptx::shared_address(raw);
  const std::uint32_t base = (start + 1023U) / 1024U * 1024U;
  const SharedMemory shared{base, raw + (base - start)};
  const std::uint32_t rank = ptx::rank_in_cluster();
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < S::kStages; ++stage) {
      ptx::init_barrier(full_barrier<S>(base, stage), 1);                    // the thread that expects the bytes
      ptx::init_barrier(empty_barrier<S>(base, stage), kClusterBlocks * 8);  // every warp that multiplies, in both blocks
    }
    ptx::fence_barrier_init();
    ptx::prefetch_map(&map_a);
    ptx::prefetch_map(&map_b);
  }
  ptx::sync_cluster();
  const int first_tile = static_cast<int>(blockIdx.x) / kClusterBlocks;
  const int tile_step = static_cast<int>(gridDim.x) / kClusterBlocks;
  if (threadIdx.x < 128) {
    ptx::give_registers<56>();
    if (threadIdx.x < 32) feed_operands<S>(p, &map_a, &map_b, base, rank, first_tile, tile_step);
  } else {
    ptx::take_registers<224>();
    compute<S>(p, shared, rank, first_tile, tile_step);
  }
  ptx::sync_cluster();  // a block may not end while the other still writes into it or arrives at its barriers
}

}  // namespace ragdot::cuda
