// Sums to rows of out behind a bias, an activation or accumulation, 16 at a time.
#include "cpu/isa/avx512/finish.hpp"

#include "cpu/isa/intrinsics.hpp"

#include <array>
#include <limits>

#include "cpu/isa/avx512/store.hpp"
#include "cpu/isa/target.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

namespace ragdot::cpu::avx512 {
namespace {

constexpr std::int64_t kLanes = 16;
using Values = __m512;

Values spread(float x) { return _mm512_set1_ps(x); }
Values fma(Values a, Values b, Values c) { return _mm512_fmadd_ps(a, b, c); }
__mmask16 less(Values a, Values b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
__mmask16 is_nan(Values x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q); }
Values select(__mmask16 mask, Values yes, Values no) { return _mm512_mask_mov_ps(no, mask, yes); }
Values magnitude(Values x) { return _mm512_andnot_ps(spread(-0.0F), x); }
Values with_sign_of(Values size, Values x) { return _mm512_or_ps(size, _mm512_and_ps(spread(-0.0F), x)); }
Values power_of_two(Values shifted) {
  const __m512i exponents = _mm512_add_epi32(_mm512_castps_si512(shifted), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(exponents, 23));
}

__mmask16 first(std::int64_t count) { return static_cast<__mmask16>((1U << count) - 1); }
Values load_all(const float* at) { return _mm512_loadu_ps(at); }
Values load_some(const std::byte* at, std::int64_t count) { return _mm512_maskz_loadu_ps(first(count), at); }

void write_some(Format format, Values x, std::byte* out, std::int64_t count) {
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

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END

void ragdot::cpu::avx512::finish(const FinishJob& job) { finish_strips(job); }
