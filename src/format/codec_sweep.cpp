// All 2^32 f32 to both FP8 formats, against rounding in double.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "format/e4m3.hpp"
#include "format/e5m2.hpp"

namespace ragdot::format {
namespace {

/// The code of |x| by rounding |x| / quantum in double, where nearbyint ties to even.
unsigned slow_code(double x, int mantissa_bits, int min_exponent, double largest, unsigned largest_code) {
  if (x == 0) return 0;
  if (x >= largest) return largest_code;
  int exponent = 0;
  std::frexp(x, &exponent);
  const int quantum = std::max(exponent - 1, min_exponent);
  const auto steps = static_cast<unsigned>(std::nearbyint(std::ldexp(x, mantissa_bits - quantum)));
  return std::min((static_cast<unsigned>(quantum - min_exponent) << mantissa_bits) + steps, largest_code);
}

TEST(Exhaustive, EveryF32ToFp8) {
  for (std::uint64_t i = 0; i < (1ULL << 31); ++i) {
    const auto bits = static_cast<std::uint32_t>(i);
    const auto x = std::bit_cast<float>(bits);
    const auto negative = std::bit_cast<float>(bits | 0x80000000U);
    const bool nan = std::isnan(x);
    const unsigned e4m3 = nan ? 0x7f : slow_code(x, 3, -6, 448, 0x7e);
    const unsigned e5m2 = nan ? 0x7f : slow_code(x, 2, -14, 57344, 0x7b);
    ASSERT_EQ(f32_to_e4m3(x), e4m3) << bits;
    ASSERT_EQ(f32_to_e4m3(negative), e4m3 | 0x80U) << bits;
    ASSERT_EQ(f32_to_e5m2(x), e5m2) << bits;
    ASSERT_EQ(f32_to_e5m2(negative), e5m2 | 0x80U) << bits;
  }
}

}  // namespace
}  // namespace ragdot::format
