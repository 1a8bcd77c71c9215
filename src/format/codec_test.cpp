// Every code of every format, and every rounding boundary, against a slow search for the nearest value.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "format/e4m3.hpp"
#include "format/e5m2.hpp"
#include "format/e8m0.hpp"
#include "format/half.hpp"

namespace ragdot::format {
namespace {

/// A byte format by the OCP text: value = (-1)^s 2^(e - bias) (1 + m / 2^bits), or 2^(1 - bias) m / 2^bits for e = 0.
double by_the_text(unsigned code, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const unsigned mantissa = code & ((1U << mantissa_bits) - 1);
  const auto exponent = static_cast<int>((code & 0x7fU) >> mantissa_bits);
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                         : std::ldexp(mantissa + (1U << mantissa_bits), exponent - bias - mantissa_bits);
  return (code & 0x80U) != 0 ? -magnitude : magnitude;
}

TEST(E4m3, AllCodes) {
  for (unsigned code = 0; code < 256; ++code) {
    if ((code & 0x7fU) == 0x7f) {
      EXPECT_TRUE(std::isnan(kE4m3ToF32[code]));
      continue;
    }
    EXPECT_EQ(kE4m3ToF32[code], by_the_text(code, 4, 3)) << code;
    EXPECT_EQ(f32_to_e4m3(kE4m3ToF32[code]), code) << code;
  }
}

TEST(E5m2, AllCodes) {
  for (unsigned code = 0; code < 256; ++code) {
    if ((code & 0x7fU) >= 0x7c) continue;
    EXPECT_EQ(kE5m2ToF32[code], by_the_text(code, 5, 2)) << code;
    EXPECT_EQ(f32_to_e5m2(kE5m2ToF32[code]), code) << code;
  }
  EXPECT_EQ(kE5m2ToF32[0x7c], INFINITY);
  EXPECT_EQ(kE5m2ToF32[0xfc], -INFINITY);
  for (const unsigned code : {0x7dU, 0x7eU, 0x7fU, 0xfdU, 0xfeU, 0xffU}) EXPECT_TRUE(std::isnan(kE5m2ToF32[code]));
}

/// Midpoints round to the even code; one f32 step to either side rounds away from the tie.
template <class Encode>
void expect_boundaries(Encode encode, const std::array<float, 256>& table, unsigned largest) {
  for (unsigned code = 0; code < largest; ++code) {
    const float midpoint = (table[code] + table[code + 1]) / 2;  // exact: one more bit than a code has
    EXPECT_EQ(encode(midpoint), code % 2 == 0 ? code : code + 1) << code;
    EXPECT_EQ(encode(std::nextafter(midpoint, 0.0F)), code) << code;
    EXPECT_EQ(encode(std::nextafter(midpoint, INFINITY)), code + 1) << code;
    EXPECT_EQ(encode(-std::nextafter(midpoint, INFINITY)), code + 0x81) << code;
  }
  for (const float x : {table[largest] * 1.5F, 3.4e38F, INFINITY}) {
    EXPECT_EQ(encode(x), largest);
    EXPECT_EQ(encode(-x), largest | 0x80U);
  }
  EXPECT_EQ(encode(std::bit_cast<float>(0x7fc00000U)), 0x7f);
  EXPECT_EQ(encode(std::bit_cast<float>(0xff800001U)), 0xff);
  EXPECT_EQ(encode(std::bit_cast<float>(0x007fffffU)), 0);
}

TEST(E4m3, Boundaries) { expect_boundaries(f32_to_e4m3, kE4m3ToF32, 0x7e); }
TEST(E5m2, Boundaries) { expect_boundaries(f32_to_e5m2, kE5m2ToF32, 0x7b); }

TEST(ByteFormats, EveryBf16) {
  for (unsigned code = 0; code < 0x10000; ++code) {
    const float x = bf16_to_f32(static_cast<std::uint16_t>(code));
    if (!std::isfinite(x) || std::abs(x) > 1e6F) continue;  // beyond it distances to all codes look alike in double
    for (const auto& [encode, table, largest] :
         {std::tuple{&f32_to_e4m3, &kE4m3ToF32, 0x7eU}, {&f32_to_e5m2, &kE5m2ToF32, 0x7bU}}) {
      const unsigned got = encode(x) & 0x7fU;
      ASSERT_LE(got, largest);
      const double error = std::abs(static_cast<double>((*table)[got]) - std::abs(static_cast<double>(x)));
      for (const unsigned other : {got == 0 ? 0 : got - 1, std::min(got + 1, largest)}) {
        const double rival = std::abs(static_cast<double>((*table)[other]) - std::abs(static_cast<double>(x)));
        ASSERT_TRUE(error < rival || (error == rival && (got == other || got % 2 == 0))) << x;
      }
    }
  }
}

TEST(ByteFormats, EveryProductOfTwoCodesIsExactInF32) {
  const std::array<float, 256>* tables[] = {&kE4m3ToF32, &kE5m2ToF32};
  for (const auto* lhs : tables) {
    for (const auto* rhs : tables) {
      for (const float a : *lhs) {
        for (const float b : *rhs) {
          if (std::isfinite(a) && std::isfinite(b)) {
            ASSERT_EQ(static_cast<double>(a * b), static_cast<double>(a) * static_cast<double>(b));
          }
        }
      }
    }
  }
}

TEST(Half, AllCodesRoundTrip) {
  for (unsigned code = 0; code < 0x10000; ++code) {
    const auto half = static_cast<std::uint16_t>(code);
    const bool f16_nan = (code & 0x7fffU) > 0x7c00;
    EXPECT_EQ(f32_to_f16(f16_to_f32(half)), f16_nan ? kF16Nan : half);
    const bool bf16_nan = (code & 0x7fffU) > 0x7f80;
    EXPECT_EQ(f32_to_bf16(bf16_to_f32(half)), bf16_nan ? kBf16Nan : half);
  }
}

TEST(Half, EveryF16ByTheText) {
  for (unsigned code = 0; code < 0x10000; ++code) {
    const unsigned exponent = code >> 10 & 0x1fU;
    const unsigned mantissa = code & 0x3ffU;
    const float got = f16_to_f32(static_cast<std::uint16_t>(code));
    if (exponent == 31 && mantissa != 0) {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(got), 0x7fc00000U) << code;
      continue;
    }
    const double magnitude = exponent == 31  ? INFINITY
                             : exponent == 0 ? std::ldexp(mantissa, -24)
                                             : std::ldexp(mantissa + 1024U, static_cast<int>(exponent) - 25);
    EXPECT_EQ(got, static_cast<float>((code & 0x8000U) != 0 ? -magnitude : magnitude)) << code;
    EXPECT_EQ(std::signbit(got), (code & 0x8000U) != 0) << code;
  }
  EXPECT_EQ(f32_to_f16(NAN), 0x7e00);
  EXPECT_EQ(f32_to_bf16(NAN), 0x7fc0);
}

TEST(Half, MidpointsRoundToEven) {
  for (unsigned code = 0; code < 0x7bff; ++code) {
    const float midpoint =
        (f16_to_f32(static_cast<std::uint16_t>(code)) + f16_to_f32(static_cast<std::uint16_t>(code + 1))) / 2;
    EXPECT_EQ(f32_to_f16(midpoint), code % 2 == 0 ? code : code + 1);
    EXPECT_EQ(f32_to_f16(std::nextafter(midpoint, INFINITY)), code + 1);
    EXPECT_EQ(f32_to_f16(std::nextafter(midpoint, 0.0F)), code);
  }
  for (unsigned code = 0x80; code < 0x7f7f; ++code) {
    const auto midpoint = std::bit_cast<float>(code << 16 | 0x8000U);
    EXPECT_EQ(f32_to_bf16(midpoint), code % 2 == 0 ? code : code + 1);
    EXPECT_EQ(f32_to_bf16(std::nextafter(midpoint, INFINITY)), code + 1);
    EXPECT_EQ(f32_to_bf16(std::nextafter(midpoint, 0.0F)), code);
  }
  for (const float sign : {1.0F, -1.0F}) {  // the ends: halfway to the next power of two overflows, below it does not
    const unsigned bit = sign < 0 ? 0x8000U : 0U;
    EXPECT_EQ(f32_to_f16(sign * 65520), 0x7c00U | bit);
    EXPECT_EQ(f32_to_f16(sign * 65600), 0x7c00U | bit);  // the code behind Inf would be NaN
    EXPECT_EQ(f32_to_f16(sign * std::nextafter(65520.0F, 0.0F)), 0x7bffU | bit);
    EXPECT_EQ(f32_to_bf16(sign * std::bit_cast<float>(0x7f7f8000U)), 0x7f80U | bit);
    EXPECT_EQ(f32_to_bf16(sign * std::bit_cast<float>(0x7f7f7fffU)), 0x7f7fU | bit);
    EXPECT_EQ(f32_to_f16(sign * INFINITY), 0x7c00U | bit);
    EXPECT_EQ(f32_to_bf16(sign * INFINITY), 0x7f80U | bit);
  }
  for (const std::uint32_t nan : {0x7f800001U, 0x7fffffffU, 0xffc00000U, 0xff800001U}) {
    EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(nan)), kBf16Nan);
    EXPECT_EQ(f32_to_f16(std::bit_cast<float>(nan)), kF16Nan);
  }
}

TEST(E8m0, AllCodes) {
  for (unsigned code = 0; code < 255; ++code) {
    const float value = e8m0_to_f32(static_cast<std::uint8_t>(code));
    EXPECT_EQ(value, std::ldexp(1.0, static_cast<int>(code) - kE8m0Bias));
    EXPECT_EQ(is_e8m0(value), code > 0);
  }
  EXPECT_TRUE(std::isnan(e8m0_to_f32(255)));
  for (const float other : {0.0F, INFINITY, -INFINITY, NAN, -2.0F, 3.0F}) EXPECT_FALSE(is_e8m0(other)) << other;
}

}  // namespace
}  // namespace ragdot::format
