// FP8 codes to f32 by way of f16: both FP8 formats have the layout of f16 with fewer bits.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include "cpu/isa/target.hpp"
#include "format/fault.hpp"
#include "ragdot/types.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX2)

namespace ragdot::cpu::avx2 {
namespace {

/// f16 values of 16 codes, up to the factor kFactor. The conversion to f32 behind it reads subnormal f16, whatever MXCSR says.
template <Format kFormat>
struct HalfCodes;

/// e5m2 is the upper byte of f16.
template <>
struct HalfCodes<Format::e5m2> {
  static constexpr float kFactor = 1;
  static __m256i halves(__m128i codes) { return _mm256_slli_epi16(_mm256_cvtepu8_epi16(codes), 8); }
};

/// e4m3's exponent has a bit less and a bias of 7 for 15. Code 127, which f16 would take for 1.875, becomes NaN.
template <>
struct HalfCodes<Format::e4m3> {
  static constexpr float kFactor = 256;
  static __m256i halves(__m128i codes) {
    const __m256i sign_and_magnitude = _mm256_set1_epi16(static_cast<std::int16_t>(0xbf80));
    const __m256i moved = _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepi8_epi16(codes), 7), sign_and_magnitude);
    if (fault::on(fault::Id::avx2_nan_code_is_480)) return moved;
    const __m256i nan = _mm256_cmpeq_epi16(_mm256_or_si256(moved, _mm256_set1_epi16(INT16_MIN)), sign_and_magnitude);
    return _mm256_or_si256(moved, _mm256_and_si256(nan, _mm256_set1_epi16(0x7c00)));
  }
};

inline __m128i load8(const std::byte* at) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at)); }
inline __m128i load16(const std::byte* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); }
inline __m256i load32(const std::byte* at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)); }

}  // namespace
}  // namespace ragdot::cpu::avx2

RAGDOT_TARGET_END
