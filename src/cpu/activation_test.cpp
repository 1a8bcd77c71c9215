// Every activation within 4 ulp of the result or 2^-24 |x|, over a sweep of f32 and around its breakpoints.
#include "cpu/activation.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "cpu/isa/float_env.hpp"

namespace ragdot::cpu {
namespace {

double exact(Activation act, double x) {
  switch (act) {
    case Activation::none: return x;
    case Activation::relu: return std::max(x, 0.0);
    case Activation::tanh: return std::tanh(x);
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::gelu_tanh: return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::gelu_erf: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  }
  return x;
}

/// Error over what is allowed.
double share_of_bound(Activation act, float x) {
  const double expected = exact(act, static_cast<double>(x));
  int exponent = 0;
  std::frexp(expected, &exponent);
  const double allowed =
      std::max(4 * std::ldexp(1.0, std::max(exponent - 24, -149)), std::abs(static_cast<double>(x)) * 0x1p-24);
  return std::abs(static_cast<double>(scalar::activate(act, x)) - expected) /
         std::max(allowed, 0x1p-126);  // below that results flush
}

class Activations : public testing::TestWithParam<Activation> {};
INSTANTIATE_TEST_SUITE_P(All, Activations,
                         testing::Values(Activation::relu, Activation::tanh, Activation::silu, Activation::gelu_tanh,
                                         Activation::gelu_erf));

TEST_P(Activations, WithinTheirBound) {
  const FloatEnv environment;
  double worst = 0;
  float at = 0;
  const auto see = [&](float x) {
    const double share = share_of_bound(GetParam(), x);
    if (share > worst) {
      worst = share;
      at = x;
    }
  };
  for (std::uint64_t bits = 0x00800000U; bits < 0x7f800000U; bits += 1009) {
    see(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
    see(std::bit_cast<float>(static_cast<std::uint32_t>(bits) | 0x80000000U));
  }
  // Where results cancel most, and the fits are joined.
  for (std::uint32_t bits = std::bit_cast<std::uint32_t>(0.5F); bits < std::bit_cast<std::uint32_t>(2.0F); bits += 3) {
    see(std::bit_cast<float>(bits));
    see(std::bit_cast<float>(bits | 0x80000000U));
  }
  for (const float point : {0.625F, 1.125F, 43.5F, 44.0F, 87.0F, 88.0F, 5.0F, 13.2F}) {
    for (std::uint32_t step = 0; step < 2000; ++step) {
      see(std::bit_cast<float>(std::bit_cast<std::uint32_t>(point) - 1000 + step));
      see(-std::bit_cast<float>(std::bit_cast<std::uint32_t>(point) - 1000 + step));
    }
  }
  EXPECT_LE(worst, 1.0) << "at " << at;
  RecordProperty("worst_share_of_bound", std::to_string(worst));
}

TEST_P(Activations, SpecialValues) {
  const FloatEnv environment;
  const Activation act = GetParam();
  EXPECT_TRUE(std::isnan(scalar::activate(act, NAN)));
  EXPECT_EQ(scalar::activate(act, 0.0F), 0.0F);
  EXPECT_EQ(scalar::activate(act, INFINITY), act == Activation::tanh ? 1.0F : INFINITY);
  EXPECT_EQ(scalar::activate(act, -INFINITY), act == Activation::tanh ? -1.0F : 0.0F);
}

}  // namespace
}  // namespace ragdot::cpu
