// fma_f32 against the FMA instruction of this CPU under the flushing environment, and against exact arithmetic elsewhere.
#include "cpu/fma.hpp"

#include <gtest/gtest.h>
#include <immintrin.h>

#include <cmath>
#include <random>

#include "cpu/isa/float_env.hpp"

namespace ragdot::cpu {
namespace {

__attribute__((target("fma"))) float hardware_fma(float a, float b, float c) {
  return _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
}

/// Bits that make cancellation, rounding ties, tiny and huge results likely.
float interesting(std::mt19937_64& random, int exponent_spread) {
  const std::uint64_t r = random();
  const auto spread = static_cast<std::uint64_t>(exponent_spread);
  const auto exponent = static_cast<std::uint32_t>(127 - spread / 2 + (r >> 40) % (spread + 1)) & 0xffU;
  const std::uint32_t mantissa =
      (r >> 24 & 3U) == 0 ? static_cast<std::uint32_t>(r) & 0x7ff000U : static_cast<std::uint32_t>(r) & 0x7fffffU;
  return std::bit_cast<float>(static_cast<std::uint32_t>(r >> 32 & 1U) << 31 | exponent << 23 | mantissa);
}

TEST(Fma, IsTheInstructionToTheBit) {
  if (!__builtin_cpu_supports("fma")) GTEST_SKIP() << "this CPU has no FMA instruction to compare with";
  const FloatEnv environment;
  std::mt19937_64 random(1);
  for (const int spread : {4, 30, 120, 254}) {
    for (int i = 0; i < 5'000'000; ++i) {
      const float a = interesting(random, spread);
      const float b = interesting(random, spread);
      const float c = i % 3 == 0 ? -a * b * (1.0F + static_cast<float>(i % 7) * 0x1p-23F) : interesting(random, spread);
      const float expected = hardware_fma(a, b, c);
      const float got = fma_f32(a, b, c);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(got)) << a << ' ' << b << ' ' << c;
      } else {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(expected), std::bit_cast<std::uint32_t>(got)) << a << ' ' << b << ' ' << c;
      }
    }
  }
}

TEST(Fma, RoundsOnceWhereTwoRoundingsWouldErr) {
  // a * b = 1 + 2^-11 + 2^-24 - ..., so that rounding to 53 and then to 24 bits ties the wrong way without the step to odd.
  const float a = 1.0F + 0x1p-12F;
  EXPECT_EQ(fma_f32(a, a, 0x1p-60F), std::fma(a, a, 0x1p-60F));
  EXPECT_EQ(fma_f32(a, a, -0x1p-60F), std::fma(a, a, -0x1p-60F));
  EXPECT_NE(fma_f32(a, a, 0x1p-60F), fma_f32(a, a, -0x1p-60F));
}

}  // namespace
}  // namespace ragdot::cpu
