// The activations: one fixed sequence of f32 operations each, the same on every path, within 4 ulp of the result or
// 2^-24 |x|, whichever is larger. Coefficients are minimax fits (Lawson's iteration on Chebyshev nodes), rounded to f32.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "cpu/fma.hpp"
#include "ragdot/types.hpp"

namespace ragdot::cpu {

/// Horner's rule, constant term first in `c`.
template <std::size_t kTerms>
inline float polynomial(const std::array<float, kTerms>& c, float x) {
  float sum = c[kTerms - 1];
  for (std::size_t i = kTerms - 1; i-- > 0;) sum = fma_f32(sum, x, c[i]);
  return sum;
}

/// e^x for x <= 88, otherwise +Inf; tiny results flush. x is no NaN. Error about 1 ulp.
inline float exponential(float x) {
  constexpr float kLog2e = 0x1.715476p+0F;
  constexpr float kLn2High = 0x1.62e4p-1F;  // 15 bits, so that n * high is exact
  constexpr float kLn2Low = 0x1.7f7d1cp-20F;
  constexpr float kRound = 0x1.8p23F;  // adding it rounds to an integer
  constexpr std::array<float, 5> kSeries = {0x1p-1F, 0x1.55548ep-3F, 0x1.55545ep-5F, 0x1.123bep-7F,
                                            0x1.6db4e4p-10F};  // error 3.2e-9
  if (x > 88.0F) return std::bit_cast<float>(0x7f800000U);
  if (x < -87.0F) return 0.0F;
  const float n = fma_f32(x, kLog2e, kRound) - kRound;
  const float r = fma_f32(n, -kLn2Low, fma_f32(n, -kLn2High, x));
  const float p = fma_f32(r * r, polynomial(kSeries, r), r) + 1.0F;
  return p * std::bit_cast<float>(static_cast<std::uint32_t>(static_cast<std::int32_t>(n) + 127) << 23);
}

inline float magnitude(float x) { return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x7fffffffU); }
inline float with_sign_of(float size, float x) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(size) | (std::bit_cast<std::uint32_t>(x) & 0x80000000U));
}

/// Near zero an odd polynomial, else 1 - 2 / (e^2|x| + 1).
inline float hyperbolic_tangent(float x) {
  constexpr std::array<float, 5> kSeries = {-0x1.555534p-2F, 0x1.110760p-3F, -0x1.b8430ep-5F, 0x1.524e5cp-6F,
                                            -0x1.768464p-8F};  // 4.2e-9
  const float size = magnitude(x);
  if (size < 0.625F) return fma_f32(x * (x * x), polynomial(kSeries, x * x), x);
  return with_sign_of(1.0F - 2.0F / (exponential(2.0F * size) + 1.0F), x);
}

/// x / (1 + e^-t): silu with t = x, the tanh form of gelu with t = 2 sqrt(2 / pi) (x + 0.044715 x^3).
inline float times_logistic(float x, float t) { return x / (1.0F + exponential(-t)); }

/// (Phi(x) - 1/2) / x for |x| < 1, Phi the normal distribution, as a polynomial in x^2; error 2.7e-10 before rounding.
inline float normal_center(float x) {
  constexpr std::array<float, 6> kSeries = {0x1.988454p-2F,   -0x1.105832p-4F, 0x1.46ce5cp-7F,
                                            -0x1.36fe70p-10F, 0x1.dc13a8p-14F, -0x1.0113f4p-17F};
  return polynomial(kSeries, x * x);
}

/// The upper tail of the normal distribution for z >= 0: e^(-z^2 / 2) times a polynomial in 1 / (1 + 0.3 z); error 7.3e-11
/// before rounding.
inline float normal_tail(float z) {
  constexpr std::array<float, 9> kSeries = {-0x1.f8866cp-10F, 0x1.22e0fp-3F,   0x1.e17746p-8F, 0x1.b407d6p-2F, -0x1.cf3b94p-2F,
                                            0x1.3501d2p-1F,   -0x1.042d5ep-2F, 0x1.9eb9bcp-6F, 0x1.1d03cp-8F};
  const float t = 1.0F / fma_f32(z, 0.3F, 1.0F);
  return exponential(-0.5F * z * z) * polynomial(kSeries, t);
}

/// relu keeps NaN; silu and gelu are -0 at -Inf, their limit. NaN in, NaN out.
inline float activate(Activation activation, float x) {
  constexpr float kMinusInf = -std::bit_cast<float>(0x7f800000U);
  if (activation == Activation::none || std::isnan(x)) return x;
  if (activation == Activation::relu) return x > 0.0F ? x : 0.0F;
  if (activation == Activation::tanh) return hyperbolic_tangent(x);
  if (x == kMinusInf) return -0.0F;
  if (activation == Activation::silu) return times_logistic(x, x);
  if (activation == Activation::gelu_tanh) {
    constexpr float kLinear = 0x1.988454p+0F;  // 2 sqrt(2 / pi)
    constexpr float kCubic = 0x1.2444f4p-4F;   // 0.044715 times that
    return times_logistic(x, x * fma_f32(x * x, kCubic, kLinear));
  }
  if (magnitude(x) < 1.0F) return x * fma_f32(x, normal_center(x), 0.5F);
  const float tail = normal_tail(magnitude(x));
  return x * (x < 0.0F ? tail : 1.0F - tail);
}

}  // namespace ragdot::cpu
