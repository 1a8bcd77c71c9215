// OCP E8M0: scales that are powers of two, 2^(code - 127); 255 is NaN.
#pragma once

#include "format/minifloat.hpp"

namespace ragdot::format {

inline constexpr std::uint8_t kE8m0Nan = 255;
inline constexpr int kE8m0Bias = 127;

/// 2^(code - 127); code 0 is the subnormal f32 2^-127.
constexpr float e8m0_to_f32(std::uint8_t code) {
  if (code == kE8m0Nan) return std::bit_cast<float>(kF32Nan);
  return std::bit_cast<float>(code == 0 ? 0x00400000U : static_cast<std::uint32_t>(code) << 23);
}

/// Whether a normal f32 is a power of two within codes 1..254; then its code is the exponent field.
constexpr bool is_e8m0(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return (bits & 0x807fffffU) == 0 && bits != 0 && bits < kF32Exponent;
}

static_assert(e8m0_to_f32(127) == 1 && is_e8m0(0.25F) && !is_e8m0(0.75F) && !is_e8m0(-1.0F));

}  // namespace ragdot::format
