// OCP E5M2: 5 exponent bits, 2 mantissa bits, largest value 57344, with Inf and NaN.
#pragma once

#include "format/minifloat.hpp"

namespace ragdot::format {

inline constexpr float kE5m2Max = 57344.0F;

constexpr float e5m2_to_f32(std::uint8_t code) {
  const std::uint32_t sign = (code & 0x80U) << 24;
  if ((code & 0x7f) > 0x7c) return std::bit_cast<float>(kF32Nan);
  if ((code & 0x7f) == 0x7c) return std::bit_cast<float>(kF32Exponent | sign);
  return Minifloat<5, 2>::finite_value(code);
}

/// Nearest even; beyond 57344 and Inf saturate; NaN becomes 0x7f with x's sign.
constexpr std::uint8_t f32_to_e5m2(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = Minifloat<5, 2>::sign_code(bits);
  if (is_nan_bits(bits)) return static_cast<std::uint8_t>(sign | 0x7fU);
  const std::uint32_t code = is_inf_bits(bits) ? 0x7bU : Minifloat<5, 2>::rounded_code(bits);
  return static_cast<std::uint8_t>(sign | (code > 0x7bU ? 0x7bU : code));
}

inline constexpr std::array<float, 256> kE5m2ToF32 = table_of(e5m2_to_f32);

static_assert(kE5m2ToF32[0x7b] == 57344 && kE5m2ToF32[0x01] == 0x1p-16F && kE5m2ToF32[0xbc] == -1);
static_assert(f32_to_e5m2(57344) == 0x7b && f32_to_e5m2(-1e9F) == 0xfb && f32_to_e5m2(0x1p-17F) == 0);

}  // namespace ragdot::format
