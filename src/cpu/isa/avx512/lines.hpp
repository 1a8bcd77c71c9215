// Lines of 32 values to f32, and 32 x 32 transposition, on AVX-512 without VBMI.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <cstddef>
#include <cstdint>

#include "cpu/isa/avx2/codes.hpp"
#include "cpu/isa/avx512/lanes.hpp"
#include "cpu/isa/target.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

namespace ragdot::cpu::avx512 {
namespace {

struct Lines {
  template <Format kFormat>
  static void lines(const std::byte* from0, const std::byte* from1, float* to0, float* to1) {
    line<kFormat>(from0, to0);
    line<kFormat>(from1, to1);
  }

  /// 32 x 32 floats, `from` dense.
  static void transpose(const float* from, float* to, std::int64_t to_stride) {
    for (std::int64_t r = 0; r < 32; r += 16) {
      for (std::int64_t c = 0; c < 32; c += 16) transpose16(from + r * 32 + c, to + c * to_stride + r, to_stride);
    }
  }

  /// int16 pairs of 64 consecutive int8 values.
  static void pairs(const std::byte* from, float* to) {
    _mm512_storeu_si512(to, _mm512_cvtepi8_epi16(avx2::load32(from)));
    _mm512_storeu_si512(to + 16, _mm512_cvtepi8_epi16(avx2::load32(from + 32)));
  }

  /// int16 pairs of twice 32 int8 values.
  static void zip(const std::byte* low, const std::byte* high, float* to) {
    for (std::int64_t i = 0; i < 32; i += 16) {
      const __m512i lows = _mm512_cvtepi8_epi32(avx2::load16(low + i));
      const __m512i highs = _mm512_slli_epi32(_mm512_cvtepi8_epi32(avx2::load16(high + i)), 16);
      _mm512_storeu_si512(to + i, _mm512_mask_mov_epi16(highs, 0x55555555, lows));
    }
  }

 private:
  template <Format kFormat>
  static void line(const std::byte* from, float* to) {
    _mm512_storeu_ps(to, values<kFormat>(from));
    _mm512_storeu_ps(to + 16, values<kFormat>(from + 16 * element_bytes(kFormat)));
  }

  template <Format kFormat>
  static __m512 values(const std::byte* at) {
    if constexpr (kFormat == Format::f32) {
      return _mm512_loadu_ps(at);
    } else if constexpr (kFormat == Format::bf16) {
      return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(avx2::load32(at)), 16));
    } else {
      using Codes = avx2::HalfCodes<kFormat>;
      return _mm512_mul_ps(_mm512_cvtph_ps(Codes::halves(avx2::load16(at))), _mm512_set1_ps(Codes::kFactor));
    }
  }

  static void transpose16(const float* from, float* to, std::int64_t to_stride) {
    __m512i rows[16];
    for (std::size_t i = 0; i < 16; ++i) rows[i] = _mm512_loadu_si512(from + i * 32);
    avx512::transpose(rows);
    for (std::size_t i = 0; i < 16; ++i) _mm512_storeu_si512(to + static_cast<std::int64_t>(i) * to_stride, rows[i]);
  }
};

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
