// From the largest magnitude of a block to its scale, and to the factor of its elements: from bits alone, no libm, no
// reciprocals.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "cpu/quantize/routines.hpp"
#include "format/fault.hpp"
#include "format/memory.hpp"
#include "ragdot/types.hpp"

namespace ragdot::cpu {

inline constexpr float kSmallestScale = 0x1p-126F;

inline float largest_value(Format values) {
  return values == Format::e4m3 ? format::kE4m3Max : values == Format::e5m2 ? format::kE5m2Max : 127.0F;
}

/// |x| = mantissa * 2^exponent with 2^23 <= mantissa < 2^24, for subnormals too; x is not zero.
struct Split {
  int exponent;
  std::uint32_t mantissa;
};

inline Split split(std::uint32_t bits) {
  const std::uint32_t field = bits >> 23;
  std::uint32_t mantissa = bits & 0x7fffffU;
  if (field != 0) return {static_cast<int>(field) - 150, mantissa | 0x800000U};
  const int shift = std::countl_zero(mantissa) - 8;
  mantissa <<= shift;
  return {-149 - shift, mantissa};
}

/// 2^e clamped to e8m0 codes 1..254.
inline float power_of_two(int e) { return std::bit_cast<float>(static_cast<std::uint32_t>(std::clamp(e + 127, 1, 254)) << 23); }

/// Smallest e with amax <= fmax * 2^e.
inline int ceil_log2_ratio(std::uint32_t amax_bits, float fmax) {
  const Split a = split(amax_bits);
  const Split f = split(std::bit_cast<std::uint32_t>(fmax));
  return a.exponent - f.exponent + (a.mantissa > f.mantissa && !fault::on(fault::Id::pow2_scale_rounded_down) ? 1 : 0);
}

inline float rounded_up_to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + (fault::on(fault::Id::bf16_scale_rounded_down) ? 0U : 0xffffU)) & 0xffff0000U);
}

/// The scale of a block, as the f32 it stands for. `amax_bits` are the bits of the largest finite |x|.
[[nodiscard]] inline float block_scale(Recipe recipe, Format values, Format scales, std::uint32_t amax_bits) {
  if (amax_bits == 0 && !fault::on(fault::Id::zero_block_has_smallest_scale)) return 1.0F;
  if (recipe == Recipe::absmax) {
    const float scale = std::max(std::bit_cast<float>(amax_bits) / largest_value(values), kSmallestScale);
    return scales == Format::bf16 ? rounded_up_to_bf16(scale) : scale;
  }
  if (recipe == Recipe::pow2) return power_of_two(ceil_log2_ratio(amax_bits, largest_value(values)));
  const int emax = values == Format::e4m3 || fault::on(fault::Id::mx_exponent_of_e4m3) ? 8 : 15;
  return power_of_two(split(amax_bits).exponent + 23 - emax);
}

/// Stores a scale that block_scale gave, exactly.
inline void store_scale(Format format, float scale, std::byte* at) {
  const auto bits = std::bit_cast<std::uint32_t>(scale);
  switch (format) {
    case Format::f32: return format::store(at, scale);
    case Format::bf16: return format::store(at, static_cast<std::uint16_t>(bits >> 16));
    default: return format::store(at, static_cast<std::uint8_t>(bits >> 23));  // e8m0
  }
}

[[nodiscard]] inline Scaling scaling_of(Recipe recipe) {
  if (recipe == Recipe::fixed) return Scaling::divide;
  return recipe == Recipe::absmax ? Scaling::divide_by_positive : Scaling::multiply_by_positive;
}

/// What an element is divided by or multiplied with (scaling_of) before it is rounded.
[[nodiscard]] inline float factor_of(Recipe recipe, float scale) {
  if (divides(scaling_of(recipe))) return scale;
  // No block has an exponent above 122 (the largest f32 over 127, rounded up), so the reciprocal is a normal number.
  return std::bit_cast<float>((254U << 23) - std::bit_cast<std::uint32_t>(scale));
}

}  // namespace ragdot::cpu
