// The oracle and the reduction order against hand-made cases and plain arithmetic.
#include <gtest/gtest.h>
#include <immintrin.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "ragdot/error_bound.hpp"
#include "reference/fused.hpp"
#include "reference/oracle.hpp"

namespace ragdot::reference {
namespace {

float any_float(std::mt19937_64& random, unsigned low, unsigned high) {
  const auto r = random();
  const auto exponent = static_cast<std::uint32_t>(low + (r >> 32) % (high - low + 1));
  return std::bit_cast<float>((static_cast<std::uint32_t>(r) & 0x807fffffU) | exponent << 23);
}

TEST(Fused, IsFmaInTheNormalRange) {
  std::mt19937_64 random(1);
  for (const auto& [low, high] : {std::pair{120U, 134U}, {100U, 150U}, {64U, 190U}}) {
    for (int i = 0; i < 1'000'000; ++i) {
      const float a = any_float(random, low, high);
      const float b = any_float(random, low, high);
      const float c = i % 4 == 0 ? -a * b : any_float(random, low, high);
      const float expected = std::fma(a, b, c);
      if (std::abs(expected) < 0x1p-120F) continue;
      ASSERT_EQ(fused(a, b, c), expected) << a << ' ' << b << ' ' << c;
    }
  }
}

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

__attribute__((target("fma"))) float hardware(float a, float b, float c) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(0x9fc0);
  const float y = _mm_cvtss_f32(_mm_fmadd_ss(_mm_set_ss(a), _mm_set_ss(b), _mm_set_ss(c)));
  _mm_setcsr(before);
  return y;
}

TEST(Fused, FlushesAsTheHardwareDoes) {
  if (!__builtin_cpu_supports("fma")) GTEST_SKIP() << "this CPU has no FMA instruction to compare with";
  std::mt19937_64 random(2);
  for (int i = 0; i < 2'000'000; ++i) {
    const float a = any_float(random, 30, 110);
    const float b = any_float(random, 0, 100);
    const float c = i % 3 == 0 ? (i % 2 == 0 ? 0.0F : -0.0F) : any_float(random, 0, 20);
    ASSERT_EQ(bits(fused(a, b, c)), bits(hardware(a, b, c))) << a << ' ' << b << ' ' << c;  // the signs of zeros too
  }
  EXPECT_EQ(fused(0x1.fffffep-1F, 0x1p-126F, 0), 0.0F);
  EXPECT_EQ(fused(0x1.fffffep-1F, 0x1.000002p-126F, 0), hardware(0x1.fffffep-1F, 0x1.000002p-126F, 0));
}

/// One group, e4m3 lhs [1, 4] with one f32 scale per two columns, bf16 rhs [4, 1] of ones.
struct Tiny {
  std::vector<std::uint8_t> lhs = {0x38, 0x40, 0x44, 0x48};  // 1 2 3 4
  std::vector<float> scales = {10, 100};
  std::vector<std::uint16_t> rhs = {0x3f80, 0x3f80, 0x3f80, 0x3f80};
  std::vector<std::int32_t> sizes = {1};

  [[nodiscard]] GmmArgs args() const {
    GmmArgs a;
    a.lhs = matrix(static_cast<const void*>(lhs.data()), Format::e4m3, 1, 4);
    a.lhs.scales = {matrix(static_cast<const void*>(scales.data()), Format::f32, 1, 2), 1, 2, ScaleOrigin::global};
    a.rhs = matrices(static_cast<const void*>(rhs.data()), Format::bf16, 1, 4, 1);
    a.groups = Groups::from_sizes(std::span(sizes));
    a.out = matrix(static_cast<void*>(nullptr), Format::f32, 1, 1);
    return a;
  }
};

TEST(Oracle, AddsScaledSegments) {
  const Tiny tiny;
  const Exact exact = Oracle(tiny.args()).at(0, 0, 0);
  EXPECT_EQ(exact.value, 10 * (1 + 2) + 100 * (3 + 4));
  EXPECT_EQ(exact.abs_sum, exact.value);
  EXPECT_EQ(exact.bound, error_bound({730, 2, 2, (2 + 2) * 110.0 + 3 + 7 + 2}));
  EXPECT_FALSE(exact.overflows);
  EXPECT_EQ(Ordered(tiny.args()).at(0, 0, 0), 730.0F);
}

TEST(Oracle, NanScaleMakesNanOfAZeroBlock) {
  Tiny tiny;
  tiny.lhs = {0, 0, 0x38, 0x38};
  tiny.scales = {NAN, 1};
  EXPECT_TRUE(std::isnan(Oracle(tiny.args()).at(0, 0, 0).value));
  EXPECT_TRUE(std::isnan(Ordered(tiny.args()).at(0, 0, 0)));
}

TEST(Oracle, FoldsPowersOfTwoIntoTheRangeOfBf16) {
  Tiny tiny;
  GmmArgs args = tiny.args();
  const std::vector<std::uint8_t> codes = {254, 0};
  args.lhs.scales.view = matrix(static_cast<const void*>(codes.data()), Format::e8m0, 1, 2);
  tiny.lhs = {0x40, 0, 0x40, 0};  // 2 * 2^127 is Inf
  EXPECT_EQ(Oracle(args).at(0, 0, 0).value, INFINITY);
  tiny.lhs = {0x38, 0, 0x38, 0};  // 1 * 2^127, and 1 * 2^-127 is zero
  EXPECT_EQ(Oracle(args).at(0, 0, 0).value, 0x1p127);
  EXPECT_EQ(Ordered(args).at(0, 0, 0), 0x1p127F);
}

TEST(Ordered, EvenPositionsAreOneChainAndOddOnesAnother) {
  std::vector<float> a(32, 0.0F);
  std::vector<float> ones(32, 1.0F);
  a[0] = 1.0F;  // even: 1 + 2^-24 + 2^-24 stays 1, one after the other
  a[2] = 0x1p-24F;
  a[4] = 0x1p-24F;
  a[1] = 0x1p-24F;  // odd: 2^-23 together
  a[3] = 0x1p-24F;
  const std::vector<std::int32_t> sizes = {1};
  GmmArgs args;
  args.lhs = matrix(static_cast<const void*>(a.data()), Format::f32, 1, 32);
  args.rhs = matrices(static_cast<const void*>(ones.data()), Format::f32, 1, 32, 1);
  args.groups = Groups::from_sizes(std::span(sizes));
  args.out = matrix(static_cast<void*>(nullptr), Format::f32, 1, 1);
  EXPECT_EQ(Ordered(args).at(0, 0, 0), 1.0F + 0x1p-23F);
}

TEST(ErrorBound, IsNotVacuous) {
  EXPECT_EQ(error_bound({1.0, std::int64_t{1} << 24, 1, 0}), std::numeric_limits<double>::infinity());
  const double bound = error_bound({1.0, 16, 128, 100.0});
  EXPECT_GT(bound, 37 * 0x1p-24);
  EXPECT_LT(bound, 37.1 * 0x1p-24);
}

}  // namespace
}  // namespace ragdot::reference
