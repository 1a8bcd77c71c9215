// OCP E4M3FN: 4 exponent bits, 3 mantissa bits, largest value 448, NaN 0x7f and 0xff, no Inf.
#pragma once

#include "format/minifloat.hpp"

namespace ragdot::format {

inline constexpr float kE4m3Max = 448.0F;

constexpr float e4m3_to_f32(std::uint8_t code) {
  if ((code & 0x7f) == 0x7f) return std::bit_cast<float>(kF32Nan);
  return Minifloat<4, 3>::finite_value(code);
}

/// Nearest even; beyond 448 and Inf saturate; NaN becomes 0x7f with x's sign.
constexpr std::uint8_t f32_to_e4m3(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = Minifloat<4, 3>::sign_code(bits);
  if (is_nan_bits(bits)) return static_cast<std::uint8_t>(sign | 0x7fU);
  const std::uint32_t code = is_inf_bits(bits) ? 0x7eU : Minifloat<4, 3>::rounded_code(bits);
  std::uint32_t largest = fault::on(fault::Id::e4m3_overflows_to_nan) ? 0x7fU : 0x7eU;
  return static_cast<std::uint8_t>(sign | (code > largest ? largest : code));
}

inline constexpr std::array<float, 256> kE4m3ToF32 = table_of(e4m3_to_f32);

static_assert(kE4m3ToF32[0x7e] == 448 && kE4m3ToF32[0x01] == 0x1p-9F && kE4m3ToF32[0xb8] == -1);
static_assert(f32_to_e4m3(448) == 0x7e && f32_to_e4m3(1e9F) == 0x7e && f32_to_e4m3(0x1p-10F) == 0 &&
              f32_to_e4m3(-0x1.8p-10F) == 0x81);

}  // namespace ragdot::format
