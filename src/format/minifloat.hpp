// Small floating-point formats, decoded and encoded from the bits alone, with one rounding: nothing here depends on the
// floating-point environment.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "format/fault.hpp"

namespace ragdot::format {

inline constexpr std::uint32_t kF32Exponent = 0x7f800000U;
inline constexpr std::uint32_t kF32Nan = 0x7fc00000U;

/// A sign bit, kExponentBits, kMantissaBits; bias 2^(kExponentBits-1) - 1.
template <int kExponentBits, int kMantissaBits>
struct Minifloat {
  static constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  static constexpr int kMinExponent = 1 - kBias;  // of normal numbers
  static constexpr std::uint32_t kSign = 1U << (kExponentBits + kMantissaBits);

  /// Magnitude code of |x| rounded to nearest even as if the exponent had no upper end; x finite.
  static constexpr std::uint32_t rounded_code(std::uint32_t f32_bits) {
    const std::uint32_t magnitude = f32_bits & 0x7fffffffU;
    const int exponent = static_cast<int>(magnitude >> 23) - 127;
    if (exponent < -126) return 0;  // f32 subnormals lie far below half of the smallest code
    const int quantum = exponent > kMinExponent ? exponent : kMinExponent;
    const int shift = 23 - kMantissaBits + (quantum - exponent);
    if (shift > 25) return 0;
    const std::uint32_t mantissa = (magnitude & 0x7fffffU) | 0x800000U;
    const std::uint32_t half = 1U << (shift - 1);
    const std::uint32_t odd = fault::on(fault::Id::ties_away_in_codec) ? 1U : (mantissa >> shift) & 1U;
    const std::uint32_t rounded = (mantissa + half - 1 + odd) >> shift;
    return (static_cast<std::uint32_t>(quantum - kMinExponent) << kMantissaBits) + rounded;
  }

  static constexpr std::uint32_t sign_code(std::uint32_t f32_bits) { return f32_bits >> 31 != 0 ? kSign : 0U; }

  /// The f32 of a finite code: every one is a normal f32 or zero.
  static constexpr float finite_value(std::uint32_t code) {
    const std::uint32_t exponent = (code & (kSign - 1)) >> kMantissaBits;
    const std::uint32_t mantissa = code & ((1U << kMantissaBits) - 1);
    const std::uint32_t sign = (code & kSign) != 0 ? 0x80000000U : 0U;
    if (exponent == 0) {
      const float tiny = std::bit_cast<float>(static_cast<std::uint32_t>(127 + kMinExponent - kMantissaBits) << 23);
      const float value = static_cast<float>(mantissa) * tiny;
      return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) | sign);
    }
    return std::bit_cast<float>(sign | (exponent + 127 - kBias) << 23 | mantissa << (23 - kMantissaBits));
  }
};

constexpr bool is_nan_bits(std::uint32_t f32_bits) { return (f32_bits & 0x7fffffffU) > kF32Exponent; }
constexpr bool is_inf_bits(std::uint32_t f32_bits) { return (f32_bits & 0x7fffffffU) == kF32Exponent; }

/// 256 values of a byte format.
template <class Decode>
constexpr std::array<float, 256> table_of(Decode decode) {
  std::array<float, 256> table{};
  for (unsigned code = 0; code < 256; ++code) table[code] = decode(static_cast<std::uint8_t>(code));
  return table;
}

}  // namespace ragdot::format
