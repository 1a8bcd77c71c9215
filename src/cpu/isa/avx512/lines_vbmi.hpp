// Lines of 32 values to f32 on AVX-512 with VBMI: FP8 codes by table.
#pragma once

#include "cpu/isa/avx512/decode.hpp"
#include "cpu/isa/avx512/lanes.hpp"
#include "cpu/isa/avx512/lines.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512VBMI)

namespace ragdot::cpu::avx512 {
namespace {

struct LinesVbmi : Lines {
  template <Format kFormat>
  static void lines(const std::byte* from0, const std::byte* from1, float* to0, float* to1) {
    if constexpr (kFormat == Format::e4m3 || kFormat == Format::e5m2) {
      // Values i and 16 + i of a line share a dword, so one shift and one mask put 16 of each in order.
      static constexpr ByteOrder kFirst = byte_order([](std::size_t i) { return i % 2 * 16 + i / 2; });
      static constexpr ByteOrder kSecond = byte_order([](std::size_t i) { return 32 + i % 2 * 16 + i / 2; });
      const Decoder<kFormat> decode(kFirst, kSecond);
      __m512i first;
      __m512i second;
      decode(_mm512_inserti64x4(_mm512_castsi256_si512(avx2::load32(from0)), avx2::load32(from1), 1), first, second);
      widen(first, to0);
      widen(second, to1);
    } else {
      Lines::lines<kFormat>(from0, from1, to0, to1);
    }
  }

 private:
  static void widen(__m512i pairs, float* to) {
    _mm512_storeu_ps(to, lower_halves(pairs));
    _mm512_storeu_ps(to + 16, upper_halves(pairs));
  }
};

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
