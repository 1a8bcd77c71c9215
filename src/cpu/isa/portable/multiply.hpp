// The register blocks of the portable kernel: the even and odd chains of a chunk, for each kind of arithmetic.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "cpu/fma.hpp"
#include "format/fault.hpp"
#include "schedule/segments.hpp"

namespace ragdot::cpu::portable {

using f32x4 = float __attribute__((vector_size(16)));
using f32x2 = float __attribute__((vector_size(8)));
using f64x2 = double __attribute__((vector_size(16)));

/// Register map, 4 x 8 outputs: 8 f32x4 chains, 2 columns of rhs, 1 row of lhs spread over 4 lanes, 1 product: 12 of 16.
inline constexpr int kBlockRows = 4;
inline constexpr int kBlockCols = 8;

/// Part of a block: sums[r][c].
using BlockSums = float[kBlockRows][kBlockCols];

/// FP8 products are exact in f32, so multiply then add rounds once, as an fma does.
struct Fp8Chain {
  using Element = float;

  static void run(const float* lhs, const float* rhs, std::int64_t steps, BlockSums& out) {
    f32x4 sum[kBlockRows][2] = {};
    for (std::int64_t s = 0; s < steps; ++s, lhs += kBlockRows, rhs += kBlockCols) {
      f32x4 b0;
      f32x4 b1;
      std::memcpy(&b0, rhs, sizeof b0);
      std::memcpy(&b1, rhs + 4, sizeof b1);
      for (int r = 0; r < kBlockRows; ++r) {
        const f32x4 a = {lhs[r], lhs[r], lhs[r], lhs[r]};
        sum[r][0] += a * b0;
        sum[r][1] += a * b1;
      }
    }
    std::memcpy(&out, &sum, sizeof out);
  }
};

/// bf16 products are exact in double; a 24-bit sum rounded to 53 bits and then to 24 is rounded once (53 >= 2 * 24 + 2).
struct WideChain {
  using Element = double;

  static void run(const double* lhs, const double* rhs, std::int64_t steps, BlockSums& out) {
    for (int half = 0; half < kBlockCols; half += 4) columns(lhs, rhs + half, steps, out, half);
  }

 private:
  static f64x2 rounded(f64x2 x) { return __builtin_convertvector(__builtin_convertvector(x, f32x2), f64x2); }

  /// 4 x 4 outputs: 8 f64x2 chains.
  static void columns(const double* lhs, const double* rhs, std::int64_t steps, BlockSums& out, int first) {
    f64x2 sum[kBlockRows][2] = {};
    for (std::int64_t s = 0; s < steps; ++s, lhs += kBlockRows, rhs += kBlockCols) {
      f64x2 b0;
      f64x2 b1;
      std::memcpy(&b0, rhs, sizeof b0);
      std::memcpy(&b1, rhs + 2, sizeof b1);
      for (int r = 0; r < kBlockRows; ++r) {
        const f64x2 a = {lhs[r], lhs[r]};
        sum[r][0] = rounded(sum[r][0] + a * b0);
        sum[r][1] = rounded(sum[r][1] + a * b1);
      }
    }
    for (int r = 0; r < kBlockRows; ++r) {
      for (int c = 0; c < 4; ++c) out[r][first + c] = static_cast<float>(sum[r][c / 2][c % 2]);
    }
  }
};

/// f32 products need 48 bits: each step is an exact fma.
struct F32Chain {
  using Element = float;

  static void run(const float* lhs, const float* rhs, std::int64_t steps, BlockSums& out) {
    for (auto& row : out) std::fill(std::begin(row), std::end(row), 0.0F);
    for (std::int64_t s = 0; s < steps; ++s, lhs += kBlockRows, rhs += kBlockCols) {
      for (int r = 0; r < kBlockRows; ++r) {
        for (int c = 0; c < kBlockCols; ++c) out[r][c] = fma_f32(lhs[r], rhs[c], out[r][c]);
      }
    }
  }
};

inline float rounded_to_bf16(float x) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  bits &= 0xffff0000U;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// p of `depth` elements that start a chunk, added onto `p`: p = p + (e + o) for each chunk.
template <class Chain>
void add_chunks(const typename Chain::Element* lhs, const typename Chain::Element* rhs, std::int64_t depth, BlockSums& p) {
  std::int64_t chunk = fault::on(fault::Id::chunk_of_64) ? 2 * schedule::kChunk : schedule::kChunk;
  for (std::int64_t done = 0; done < depth; done += chunk) {
    const std::int64_t length = std::min(chunk, depth - done);
    const std::int64_t evens = fault::on(fault::Id::one_chain_per_chunk) ? length : (length + 1) / 2;
    BlockSums even;
    BlockSums odd;
    Chain::run(lhs, rhs, evens, even);
    Chain::run(lhs + evens * kBlockRows, rhs + evens * kBlockCols, length - evens, odd);
    lhs += length * kBlockRows;
    rhs += length * kBlockCols;
    for (int r = 0; r < kBlockRows; ++r) {
      for (int c = 0; c < kBlockCols; ++c) {
        p[r][c] = fault::on(fault::Id::odd_chain_before_even) ? (p[r][c] + odd[r][c]) + even[r][c]
                                                              : p[r][c] + (even[r][c] + odd[r][c]);
        if (fault::on(fault::Id::bf16_accumulation)) p[r][c] = rounded_to_bf16(p[r][c]);
      }
    }
  }
}

/// Exact integer sums: up to 1024 products of i8 stay below 2^24, so f32 adds them exactly in any order; double adds those.
inline void add_integers(const float* lhs, const float* rhs, std::int64_t depth, double (&p)[kBlockRows][kBlockCols]) {
  constexpr std::int64_t kExactTerms = 1024;
  for (std::int64_t done = 0; done < depth; done += kExactTerms) {
    const std::int64_t length = std::min(kExactTerms, depth - done);
    BlockSums sums;
    Fp8Chain::run(lhs + done * kBlockRows, rhs + done * kBlockCols, length, sums);
    for (int r = 0; r < kBlockRows; ++r) {
      for (int c = 0; c < kBlockCols; ++c) p[r][c] += static_cast<double>(sums[r][c]);
    }
  }
}

}  // namespace ragdot::cpu::portable
