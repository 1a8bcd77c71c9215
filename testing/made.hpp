// Data that is made as codes and scales, not quantised from an original: integers, all codes, edges.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "testing/problem.hpp"
#include "testing/random.hpp"

namespace ragdot::testing {

/// Nearest even; x is no NaN.
[[nodiscard]] inline std::uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

[[nodiscard]] constexpr bool is_made(Family family) {
  return family == Family::integers || family == Family::codes || family == Family::edges;
}

/// Makes the elements of one operand, one after the other.
class Maker {
 public:
  Maker(Family family, Random& random);

  void store_value(Format format, std::byte* at);
  /// Scale `i` of the operand.
  void store_scale(Format format, std::int64_t i, std::byte* at);

 private:
  Family family_;
  Random& random_;
  int exponent_ = 0;  // edges: of the whole operand, so that results come near the ends of f32
};

}  // namespace ragdot::testing
