// Sums to rows of out behind a bias, an activation or accumulation, 16 at a time.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "cpu/isa/target.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"
#include "format/minifloat.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

namespace ragdot::cpu::avx512 {
namespace {

/// Canonical values with their bf16, nearest even, in the upper halves. Adding to the canonical NaN leaves its upper half as it
/// is.
inline __m512i rounded_to_bf16(__m512i bits) {
  if (fault::on(fault::Id::truncated_output)) return bits;
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
}

namespace finishing {

inline constexpr std::int64_t kLanes = 16;
using Values = __m512;

inline Values spread(float x) { return _mm512_set1_ps(x); }
inline Values fma(Values a, Values b, Values c) { return _mm512_fmadd_ps(a, b, c); }
inline __mmask16 less(Values a, Values b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
inline __mmask16 is_nan(Values x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q); }
inline Values select(__mmask16 mask, Values yes, Values no) { return _mm512_mask_mov_ps(no, mask, yes); }
inline Values magnitude(Values x) { return _mm512_andnot_ps(spread(-0.0F), x); }
inline Values with_sign_of(Values size, Values x) { return _mm512_or_ps(size, _mm512_and_ps(spread(-0.0F), x)); }
inline Values power_of_two(Values shifted) {
  const __m512i exponents = _mm512_add_epi32(_mm512_castps_si512(shifted), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(exponents, 23));
}

inline __mmask16 first(std::int64_t count) { return static_cast<__mmask16>((1U << count) - 1); }
inline Values load_all(const float* at) { return _mm512_loadu_ps(at); }
inline Values load_some(const std::byte* at, std::int64_t count) { return _mm512_maskz_loadu_ps(first(count), at); }

inline void write_some(Format format, Values x, std::byte* out, std::int64_t count) {
  const __m512i nan = _mm512_set1_epi32(static_cast<int>(format::kF32Nan));
  const __m512i bits = _mm512_mask_mov_epi32(_mm512_castps_si512(x), is_nan(x), nan);
  if (format == Format::f32) {
    _mm512_mask_storeu_epi32(out, first(count), bits);
  } else if (format == Format::bf16) {
    _mm512_mask_cvtepi32_storeu_epi16(out, first(count), _mm512_srli_epi32(rounded_to_bf16(bits), 16));
  } else {
    const __m256i halves = _mm512_cvtps_ph(_mm512_castsi512_ps(bits), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_mask_storeu_epi16(out, first(count), halves);
  }
}

#include "cpu/isa/finish/finish.hpp"

}  // namespace finishing

inline void finish(const FinishJob& job) { finishing::finish_strips(job); }

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
