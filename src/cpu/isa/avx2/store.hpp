// Finished sums to contiguous rows of out, 8 at a time.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/isa/target.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX2)

namespace ragdot::cpu::avx2 {
namespace {

/// The bits of sums: +0 for every zero, the canonical NaN for every NaN.
inline __m256i canonical(__m256 sums) {
  const __m256 nonzero = _mm256_cmp_ps(sums, _mm256_setzero_ps(), _CMP_NEQ_UQ);
  const __m256 nan = _mm256_cmp_ps(sums, sums, _CMP_UNORD_Q);
  const __m256 quiet = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
  return _mm256_castps_si256(_mm256_blendv_ps(_mm256_and_ps(sums, nonzero), quiet, nan));
}

/// Canonical values to bf16, nearest even. Adding to the canonical NaN leaves its upper half as it is.
inline __m128i rounded_to_bf16(__m256i bits) {
  __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  if (fault::on(fault::Id::avx2_bf16_ties_up)) odd = _mm256_set1_epi32(1);
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i high = _mm256_srli_epi32(rounded, 16);
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packus_epi32(high, high), 0x08));
}

/// To f32 or bf16.
inline void store8(Format format, __m256i bits, std::byte* out) {
  if (format == Format::bf16) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), rounded_to_bf16(bits));
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bits);
  }
}

/// StoreJob for strips of kStripCols columns, a multiple of 8.
template <int kStripCols>
void store(const StoreJob& job) {
  const std::int64_t bytes = element_bytes(job.format);
  for (std::int64_t r = 0; r < job.rows; ++r) {
    std::byte* out = job.out + r * job.out_row_bytes;
    const float* sums = job.acc + r * kStripCols;
    for (std::int64_t c = 0; c < job.cols; c += 8) {
      const __m256 eight = _mm256_loadu_ps(sums + c / kStripCols * job.strip_rows * kStripCols + c % kStripCols);
      const std::int64_t left = job.cols - c;
      if (left >= 8) {
        store8(job.format, canonical(eight), out + c * bytes);
      } else {
        std::array<std::byte, 32> end;
        store8(job.format, canonical(eight), end.data());
        const std::int64_t taken = fault::on(fault::Id::avx2_last_column_unstored) ? left - 1 : left;
        std::memcpy(out + c * bytes, end.data(), static_cast<std::size_t>(taken * bytes));
      }
    }
  }
}

}  // namespace
}  // namespace ragdot::cpu::avx2

RAGDOT_TARGET_END
