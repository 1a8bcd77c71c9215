// Whether tile instructions add in the reduction order, seen on one product.
#pragma once

#include <bit>
#include <cstdint>

#include "cpu/isa/float_env.hpp"
#include "cpu/isa/order_data.hpp"

namespace ragdot::cpu::amx {
namespace {

/// One product of full tiles has the bits of the reduction order: p + (e + o), each an fma chain.
template <class Tiles>
bool order_holds() {
  alignas(64) std::uint32_t lhs[16][16];
  alignas(64) std::uint32_t rhs[16][16];
  alignas(64) float sums[16][16];
  for (std::uint32_t r = 0; r < 16; ++r) {
    for (std::uint32_t i = 0; i < 16; ++i) {
      lhs[r][i] = order_data::pair(order_data::lhs(r, 2 * i), order_data::lhs(r, 2 * i + 1));
      rhs[i][r] = order_data::pair(order_data::rhs(r, 2 * i), order_data::rhs(r, 2 * i + 1));
      sums[r][i] = std::bit_cast<float>(order_data::before(r, i));
    }
  }
  const FloatEnv environment;
  Tiles::configure(16);
  Tiles::template load<0>(sums, 64);
  Tiles::template load<4>(lhs, 64);
  Tiles::template load<6>(rhs, 64);
  Tiles::template dot_bf16<0, 4, 6>();
  Tiles::template store<0>(sums, 64);
  Tiles::release();
  bool same = true;
  for (std::uint32_t r = 0; r < 16; ++r) {
    for (std::uint32_t c = 0; c < 16; ++c) {
      same = same && std::bit_cast<std::uint32_t>(sums[r][c]) == std::bit_cast<std::uint32_t>(order_data::chunk(r, c));
    }
  }
  return same;
}

}  // namespace
}  // namespace ragdot::cpu::amx
