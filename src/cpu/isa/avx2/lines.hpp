// Lines of 32 values to f32, and 32 x 32 transposition, on AVX2.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <cstddef>
#include <cstdint>

#include "cpu/isa/avx2/codes.hpp"
#include "cpu/isa/target.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX2)

namespace ragdot::cpu::avx2 {
namespace {

struct Lines {
  template <Format kFormat>
  static void lines(const std::byte* from0, const std::byte* from1, float* to0, float* to1) {
    line<kFormat>(from0, to0);
    line<kFormat>(from1, to1);
  }

  /// 32 x 32 floats, `from` dense.
  static void transpose(const float* from, float* to, std::int64_t to_stride) {
    for (std::int64_t r = 0; r < 32; r += 8) {
      for (std::int64_t c = 0; c < 32; c += 8) transpose8(from + r * 32 + c, to + c * to_stride + r, to_stride);
    }
  }

  /// int16 pairs of 64 consecutive int8 values.
  static void pairs(const std::byte* from, float* to) {
    for (std::int64_t i = 0; i < 32; i += 8) store(to + i, _mm256_cvtepi8_epi16(load16(from + 2 * i)));
  }

  /// int16 pairs of twice 32 int8 values.
  static void zip(const std::byte* low, const std::byte* high, float* to) {
    for (std::int64_t i = 0; i < 32; i += 8) {
      const __m256i lows = _mm256_cvtepi8_epi32(load8(low + i));
      const __m256i highs = _mm256_slli_epi32(_mm256_cvtepi8_epi32(load8(high + i)), 16);
      store(to + i, _mm256_blend_epi16(lows, highs, 0xaa));
    }
  }

 private:
  static void store(float* to, __m256i dwords) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), dwords); }

  template <Format kFormat>
  static void line(const std::byte* from, float* to) {
    for (std::int64_t i = 0; i < 32; i += 16) {
      __m256 low;
      __m256 high;
      values<kFormat>(from + i * element_bytes(kFormat), low, high);
      _mm256_storeu_ps(to + i, low);
      _mm256_storeu_ps(to + i + 8, high);
    }
  }

  /// 16 values.
  template <Format kFormat>
  static void values(const std::byte* at, __m256& low, __m256& high) {
    if constexpr (kFormat == Format::f32) {
      low = _mm256_castsi256_ps(load32(at));
      high = _mm256_castsi256_ps(load32(at + 32));
    } else if constexpr (kFormat == Format::bf16) {
      low = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load16(at)), 16));
      high = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load16(at + 16)), 16));
    } else {
      using Codes = HalfCodes<kFormat>;
      const __m256i halves = Codes::halves(load16(at));
      const __m256 factor = _mm256_set1_ps(Codes::kFactor);
      low = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(halves)), factor);
      high = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)), factor);
    }
  }

  static void transpose8(const float* from, float* to, std::int64_t to_stride) {
    __m256 r[8];
    __m256 t[8];
    for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(from + i * 32);
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
      r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
      r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
      r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    // r[4q + c] holds columns c and 4 + c of rows 4q .. 4q + 3.
    for (int c = 0; c < 4; ++c) {
      _mm256_storeu_ps(to + c * to_stride, _mm256_permute2f128_ps(r[c], r[4 + c], 0x20));
      const int upper = fault::on(fault::Id::avx2_transpose_rows_exchanged) ? c ^ 1 : c;
      _mm256_storeu_ps(to + (4 + upper) * to_stride, _mm256_permute2f128_ps(r[c], r[4 + c], 0x31));
    }
  }
};

}  // namespace
}  // namespace ragdot::cpu::avx2

RAGDOT_TARGET_END
