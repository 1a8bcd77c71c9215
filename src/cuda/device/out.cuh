// From a warp's sums in registers to rows of out.
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>

#include "cuda/device/ptx.cuh"
#include "cuda/launch.hpp"

namespace ragdot::cuda {

inline constexpr int kStagingBytes = 8 * 128;  // for each warp: 8 rows of 64 bf16 or 32 f32

/// What a launch passes to the kernel beside the operands' maps.
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
  bool copied;        // tgmm: groups that begin where the copy engine cannot read are read from copies
  bool aligned_rows;  // out's rows can be written 16 bytes at a time
};

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

/// Where a warp keeps 16 bytes of 8 rows of 128: piece `piece` of row `row`, moved so that neither the writes by columns nor
/// the reads by rows meet in a bank.
__device__ __forceinline__ std::uint32_t staged(std::uint32_t staging, int row, int piece) {
  return staging + row * 128 + (piece ^ row) * 16;
}

/// 16 bytes of out, of `count` elements (or fewer, at its edge). Written past the caches' other contents: out is read to be
/// added to, or not at all.
__device__ __forceinline__ void write(const Parameters& p, float* at, const uint4& bits, int count) {
  float values[4] = {__uint_as_float(bits.x), __uint_as_float(bits.y), __uint_as_float(bits.z), __uint_as_float(bits.w)};
  if (p.aligned_rows && count >= 4) {
    auto* four = reinterpret_cast<float4*>(at);
    if (p.accumulate) {
      const float4 before = __ldcs(four);
      const float added[4] = {before.x + values[0], before.y + values[1], before.z + values[2], before.w + values[3]};
#pragma unroll
      for (int e = 0; e < 4; ++e) values[e] = canonical(added[e]);
    }
    __stcs(four, float4{values[0], values[1], values[2], values[3]});
    return;
  }
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    if (e < count) at[e] = p.accumulate ? canonical(at[e] + values[e]) : values[e];
  }
}
__device__ __forceinline__ void write(const Parameters& p, __nv_bfloat16* at, const uint4& bits, int count) {
  if (p.aligned_rows && count >= 8) {
    __stcs(reinterpret_cast<uint4*>(at), bits);
    return;
  }
  const std::uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int e = 0; e < 8; ++e) {
    if (e < count) at[e] = __ushort_as_bfloat16(static_cast<unsigned short>(words[e / 2] >> (e % 2 * 16)));
  }
}

/// A warp's 16 rows, turned by way of shared memory so that whole lines of 128 bytes are written: 8 rows and kWide columns at a
/// time.
template <class Out, int kCount>
__device__ __forceinline__ void write_rows(const Parameters& p, const float (&sum)[kCount], Out* rows, int rows_left,
                                           int cols_left, std::uint32_t staging) {
  constexpr int kWide = 128 / static_cast<int>(sizeof(Out));
  constexpr int kOfPiece = 16 / static_cast<int>(sizeof(Out));
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int first = 0; first < kCount / 4; first += kWide / 8) {  // of 8 columns each, registers 4 first and on
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float* d = sum + first * 4 + half * 2;
      __syncwarp();
      if constexpr (sizeof(Out) == 2) {
#pragma unroll
        for (int j = 0; j < 8; j += 4) {
          ptx::store_matrices(staged(staging, lane % 8, j + lane / 8), bf16_pair(d[j * 4], d[j * 4 + 1]),
                              bf16_pair(d[j * 4 + 4], d[j * 4 + 5]), bf16_pair(d[j * 4 + 8], d[j * 4 + 9]),
                              bf16_pair(d[j * 4 + 12], d[j * 4 + 13]));
        }
      } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          ptx::store(staged(staging, lane / 4, j * 2 + lane % 4 / 2) + lane % 2 * 8, canonical(d[j * 4]),
                     canonical(d[j * 4 + 1]));
        }
      }
      __syncwarp();
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int row = i * 4 + lane / 8;
        const int col = first * 8 + lane % 8 * kOfPiece;
        const uint4 bits = ptx::load_16_bytes(staged(staging, row, lane % 8));
        if (half * 8 + row < rows_left && col < cols_left) {
          write(p, rows + (half * 8 + row) * p.out_pitch + col, bits, cols_left - col);
        }
      }
    }
  }
}

}  // namespace ragdot::cuda
