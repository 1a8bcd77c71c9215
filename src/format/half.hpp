// The two 16-bit formats: bf16 (the top half of an f32) and IEEE f16, rounded to nearest even; NaN becomes the canonical one.
#pragma once

#include "format/minifloat.hpp"

namespace ragdot::format {

inline constexpr std::uint16_t kBf16Nan = 0x7fc0;
inline constexpr std::uint16_t kF16Nan = 0x7e00;

constexpr float bf16_to_f32(std::uint16_t code) { return std::bit_cast<float>(static_cast<std::uint32_t>(code) << 16); }

/// Overflow becomes Inf.
constexpr std::uint16_t f32_to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16;
  const bool nan = is_nan_bits(bits) && !fault::on(fault::Id::bf16_nan_rounded);
  return static_cast<std::uint16_t>(nan ? kBf16Nan : rounded);
}

constexpr float f16_to_f32(std::uint16_t code) {
  const std::uint32_t sign = (code & 0x8000U) << 16;
  if ((code & 0x7fff) > 0x7c00) return std::bit_cast<float>(kF32Nan);
  if ((code & 0x7fff) == 0x7c00) return std::bit_cast<float>(kF32Exponent | sign);
  return Minifloat<5, 10>::finite_value(code);
}

/// Overflow becomes Inf; subnormals are kept.
constexpr std::uint16_t f32_to_f16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = Minifloat<5, 10>::sign_code(bits);
  if (is_nan_bits(bits)) return kF16Nan;
  const std::uint32_t code = is_inf_bits(bits) ? 0x7c00U : Minifloat<5, 10>::rounded_code(bits);
  return static_cast<std::uint16_t>(sign | (code > 0x7c00U ? 0x7c00U : code));
}

static_assert(f32_to_bf16(1.00390625F) == 0x3f80 && f32_to_bf16(3.4e38F) == 0x7f80);
static_assert(f32_to_f16(65504) == 0x7bff && f32_to_f16(65520) == 0x7c00 && f32_to_f16(0x1p-24F) == 1 &&
              f16_to_f32(1) == 0x1p-24F);

}  // namespace ragdot::format
