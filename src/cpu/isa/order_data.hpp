// Data on which a start-up check sees whether an instruction adds in the reduction order.
#pragma once

#include <bit>
#include <cstdint>

#include "cpu/fma.hpp"

namespace ragdot::cpu::order_data {

/// A pseudo-random bf16 with an exponent around 1, as the bits of a float.
inline std::uint32_t bits(std::uint32_t i) { return ((i * 2654435761U) & 0x83ff0000U) + 0x3e000000U; }

/// Element `depth` (0..31) of a row of lhs, of a column of rhs; what p holds before.
inline std::uint32_t lhs(std::uint32_t row, std::uint32_t depth) { return bits(64 * row + depth); }
inline std::uint32_t rhs(std::uint32_t col, std::uint32_t depth) { return bits(5000 + 64 * col + depth); }
inline std::uint32_t before(std::uint32_t row, std::uint32_t col) { return bits(9000 + 16 * row + col); }

/// Two bf16 values in a dword.
inline std::uint32_t pair(std::uint32_t low, std::uint32_t high) { return low >> 16 | (high & 0xffff0000U); }

/// One chunk by the reduction order: p + (e + o). Needs the float environment of products.
inline float chunk(std::uint32_t row, std::uint32_t col) {
  const auto chain = [&](std::uint32_t first) {
    float sum = 0;
    for (std::uint32_t i = first; i < 32; i += 2) {
      sum = fma_f32(std::bit_cast<float>(lhs(row, i)), std::bit_cast<float>(rhs(col, i)), sum);
    }
    return sum;
  };
  return std::bit_cast<float>(before(row, col)) + (chain(0) + chain(1));
}

}  // namespace ragdot::cpu::order_data
