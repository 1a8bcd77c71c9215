// Finished sums to contiguous rows of out, 16 at a time.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <cstdint>

#include "cpu/isa/target.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"
#include "format/minifloat.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

namespace ragdot::cpu::avx512 {
namespace {

/// +0 for every zero, the canonical NaN for every NaN.
inline __m512 canonical(__m512 sums) {
  if (fault::on(fault::Id::negative_zero_kept)) return sums;
  const __mmask16 nonzero = _mm512_cmp_ps_mask(sums, _mm512_setzero_ps(), _CMP_NEQ_UQ);
  const __mmask16 nan = _mm512_cmp_ps_mask(sums, sums, _CMP_UNORD_Q);
  return _mm512_mask_mov_ps(_mm512_maskz_mov_ps(nonzero, sums), nan,
                            _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(format::kF32Nan))));
}

/// Canonical values to bf16, nearest even.
inline __m256i rounded_to_bf16(__m512 values) {
  const __m512i bits = _mm512_castps_si512(values);
  const __mmask16 nan = _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  if (fault::on(fault::Id::truncated_output)) rounded = bits;
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, bits), 16));
}

template <Format kFormat>
[[gnu::always_inline]] inline void store_values(__m512 sums, __mmask16 lanes, std::byte* out) {
  __m512 values = canonical(sums);
  if (fault::on(fault::Id::truncated_output)) {
    values = _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(values), _mm512_set1_epi32(~0x1fff)));
  }
  if constexpr (kFormat == Format::bf16) {
    if (lanes == 0xffff) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), rounded_to_bf16(values));
    } else {
      _mm256_mask_storeu_epi16(out, lanes, rounded_to_bf16(values));
    }
  } else if (lanes == 0xffff) {
    _mm512_storeu_ps(out, values);
  } else {
    _mm512_mask_storeu_ps(out, lanes, values);
  }
}

template <Format kFormat, int kStripCols>
void store_strips(const StoreJob& job) {
  constexpr std::int64_t kBytes = element_bytes(kFormat);
  for (std::int64_t c = 0; c < job.cols; c += kStripCols) {
    const float* sums = job.acc + c * job.strip_rows;
    std::byte* out = job.out + c * kBytes;
    const std::int64_t cols = std::min<std::int64_t>(kStripCols, job.cols - c);
    if (cols == kStripCols) {
      for (std::int64_t r = 0; r < job.rows; ++r, sums += kStripCols, out += job.out_row_bytes) {
        for (int v = 0; v < kStripCols; v += 16) store_values<kFormat>(_mm512_loadu_ps(sums + v), 0xffff, out + v * kBytes);
      }
      continue;
    }
    for (std::int64_t r = 0; r < job.rows; ++r, sums += kStripCols, out += job.out_row_bytes) {
      for (std::int64_t v = 0; v < cols; v += 16) {
        const auto lanes = static_cast<__mmask16>((1U << std::min<std::int64_t>(16, cols - v)) - 1);
        store_values<kFormat>(_mm512_loadu_ps(sums + v), lanes, out + v * kBytes);
      }
    }
  }
}

/// StoreJob for strips of kStripCols columns, a multiple of 16.
template <int kStripCols>
void store(const StoreJob& job) {
  job.format == Format::bf16 ? store_strips<Format::bf16, kStripCols>(job) : store_strips<Format::f32, kStripCols>(job);
}

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
