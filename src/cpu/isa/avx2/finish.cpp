// Sums to rows of out behind a bias, an activation or accumulation, 8 at a time.
#include "cpu/isa/avx2/finish.hpp"

#include "cpu/isa/intrinsics.hpp"

#include <array>
#include <cstring>
#include <limits>

#include "cpu/isa/avx2/store.hpp"
#include "cpu/isa/target.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX2)

namespace ragdot::cpu::avx2 {
namespace {

constexpr std::int64_t kLanes = 8;
using Values = __m256;

Values spread(float x) { return _mm256_set1_ps(x); }
Values fma(Values a, Values b, Values c) { return _mm256_fmadd_ps(a, b, c); }
Values less(Values a, Values b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
Values is_nan(Values x) { return _mm256_cmp_ps(x, x, _CMP_UNORD_Q); }
Values select(Values mask, Values yes, Values no) { return _mm256_blendv_ps(no, yes, mask); }
Values magnitude(Values x) { return _mm256_andnot_ps(spread(-0.0F), x); }
Values with_sign_of(Values size, Values x) { return _mm256_or_ps(size, _mm256_and_ps(spread(-0.0F), x)); }
Values power_of_two(Values shifted) {
  const __m256i exponents = _mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(exponents, 23));
}

Values load_all(const float* at) { return _mm256_loadu_ps(at); }
Values load_some(const std::byte* at, std::int64_t count) {
  std::array<float, kLanes> some = {};
  std::memcpy(some.data(), at, static_cast<std::size_t>(count) * sizeof(float));
  return load_all(some.data());
}

void write_all(Format format, Values x, std::byte* out) {
  const __m256i nan = _mm256_set1_epi32(0x7fc00000);
  const Values values = select(is_nan(x), _mm256_castsi256_ps(nan), x);
  if (format != Format::f16) return store8(format, _mm256_castps_si256(values), out);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT));
}

void write_some(Format format, Values x, std::byte* out, std::int64_t count) {
  if (count == kLanes) return write_all(format, x, out);
  std::array<std::byte, kLanes * sizeof(float)> some;
  write_all(format, x, some.data());
  std::memcpy(out, some.data(), static_cast<std::size_t>(count * element_bytes(format)));
}

#include "cpu/isa/finish/finish.hpp"

}  // namespace
}  // namespace ragdot::cpu::avx2

RAGDOT_TARGET_END

void ragdot::cpu::avx2::finish(const FinishJob& job) { finish_strips(job); }
