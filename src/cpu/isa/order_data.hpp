// Data on which a start-up check sees whether an instruction adds in the reduction order.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "cpu/fma.hpp"
#include "cpu/isa/float_env.hpp"

namespace ragdot::cpu::order_data {

/// A pseudo-random number with an exponent around 1, as the bits of a float, and a bf16 of them.
inline std::uint32_t wide_bits(std::uint32_t i) { return ((i * 2654435761U) & 0x83ffffffU) + 0x3e000000U; }
inline std::uint32_t bits(std::uint32_t i) { return wide_bits(i) & 0xffff0000U; }

/// The last rows and columns are small: products of both straddle the smallest normal float, and p holds 0 before.
inline bool is_small(std::uint32_t outer) { return outer >= 12; }
inline std::uint32_t scaled(std::uint32_t number, std::uint32_t outer) {
  return is_small(outer) ? number - (63U << 23) : number;
}

/// Element `depth` (0..31) of a row of lhs, of a column of rhs; what p holds before.
inline std::uint32_t lhs(std::uint32_t row, std::uint32_t depth) { return scaled(bits(64 * row + depth), row); }
inline std::uint32_t rhs(std::uint32_t col, std::uint32_t depth) { return scaled(bits(5000 + 64 * col + depth), col); }
inline std::uint32_t before(std::uint32_t row, std::uint32_t col) {
  return is_small(row) || is_small(col) ? 0 : wide_bits(9000 + 16 * row + col);
}

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

using Sums = std::array<float, 16>;
using Pairs = std::array<std::uint32_t, 16>;

/// Whether dot(sums, lhs pair, rhs pairs of 16 columns), taken for the 16 pairs of a chunk in turn with sums of their own for
/// pairs of even and of odd positions, has the bits of the reduction order. `pairing` says which positions share a pair.
template <class Pairing, class Dot>
bool pairs_hold(const Pairing& pairing, Dot dot) {
  const FloatEnv environment;
  bool same = true;
  for (std::uint32_t row = 0; row < 16; ++row) {
    alignas(64) std::array<Sums, 2> sums = {};
    for (std::size_t i = 0; i < 16; ++i) {
      alignas(64) Pairs columns;
      for (std::uint32_t col = 0; col < 16; ++col) columns[col] = pair(rhs(col, pairing.low[i]), rhs(col, pairing.high[i]));
      dot(sums[i % 2], pair(lhs(row, pairing.low[i]), lhs(row, pairing.high[i])), columns);
    }
    for (std::uint32_t col = 0; col < 16; ++col) {
      const float p = std::bit_cast<float>(before(row, col)) + (sums[0][col] + sums[1][col]);
      same = same && std::bit_cast<std::uint32_t>(p) == std::bit_cast<std::uint32_t>(chunk(row, col));
    }
  }
  return same;
}

}  // namespace ragdot::cpu::order_data
