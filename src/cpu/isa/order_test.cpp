// The check at start-up of how an instruction adds: one that adds in another order, keeps subnormals or rounds otherwise is
// refused. The instructions are plain C++.
#include <gtest/gtest.h>

#include <xmmintrin.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/isa/amx/order.hpp"

namespace ragdot::cpu {
namespace {

float high(std::uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000U); }
float low(std::uint32_t pair) { return std::bit_cast<float>(pair << 16); }

/// Pairs of even positions, pairs of odd ones, the earlier in the high half.
struct Alike {
  std::uint8_t low[16] = {2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31};
  std::uint8_t high[16] = {0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29};
};

/// Whether an instruction passes that adds a pair's products to a sum.
bool pairs_hold(float (*add)(float sum, std::uint32_t lhs, std::uint32_t rhs)) {
  return order_data::pairs_hold(Alike{}, [&](order_data::Sums& sums, std::uint32_t lhs, const order_data::Pairs& rhs) {
    for (std::size_t col = 0; col < sums.size(); ++col) sums[col] = add(sums[col], lhs, rhs[col]);
  });
}

float high_then_low(float sum, std::uint32_t lhs, std::uint32_t rhs) {
  return fma_f32(low(lhs), low(rhs), fma_f32(high(lhs), high(rhs), sum));
}

/// MXCSR of products but for the given bits.
constexpr unsigned kTowardsZero = 0x6000;
constexpr unsigned kFlushes = 0x8040;

TEST(OrderOfPairs, HoldsForTheHighHalfFirst) { EXPECT_TRUE(pairs_hold(high_then_low)); }

TEST(OrderOfPairs, DoesNotHoldForAnother) {
  EXPECT_FALSE(pairs_hold([](float sum, std::uint32_t lhs, std::uint32_t rhs) {
    return fma_f32(high(lhs), high(rhs), fma_f32(low(lhs), low(rhs), sum));
  })) << "the low half first";
  EXPECT_FALSE(pairs_hold([](float sum, std::uint32_t lhs, std::uint32_t rhs) {
    return sum + fma_f32(low(lhs), low(rhs), high(lhs) * high(rhs));
  })) << "both products, then the sum";
}

TEST(OrderOfPairs, DoesNotHoldWithSubnormals) {
  EXPECT_FALSE(pairs_hold([](float sum, std::uint32_t lhs, std::uint32_t rhs) {
    const FloatEnv keeps(FloatEnv::kProducts & ~kFlushes);
    return high_then_low(sum, lhs, rhs);
  }));
}

TEST(OrderOfPairs, DoesNotHoldForAnotherRounding) {
  EXPECT_FALSE(pairs_hold([](float sum, std::uint32_t lhs, std::uint32_t rhs) {
    const FloatEnv towards_zero(FloatEnv::kProducts | kTowardsZero);
    return high_then_low(sum, lhs, rhs);
  }));
}

/// One element of TDPBF16PS: a row of lhs, and the same pairs of a column.
using Row = std::uint32_t[16];
using Chunk = float (*)(float p, const Row& lhs, const Row& rhs);

/// Tiles with such an instruction.
template <Chunk kChunk>
struct Tiles {
  static inline Row tiles[8][16];
  static void configure(std::uint8_t /*rows: all*/) {}
  static void release() {}
  template <int kTile>
  static void load(const void* at, std::int64_t /*row_bytes: dense*/) {
    std::memcpy(tiles[kTile], at, sizeof tiles[kTile]);
  }
  template <int kTile>
  static void store(void* at, std::int64_t /*row_bytes: dense*/) {
    std::memcpy(at, tiles[kTile], sizeof tiles[kTile]);
  }
  template <int kSum, int kLhs, int kRhs>
  static void dot_bf16() {
    for (std::size_t r = 0; r < 16; ++r) {
      for (std::size_t c = 0; c < 16; ++c) {
        Row column;
        for (std::size_t i = 0; i < 16; ++i) column[i] = tiles[kRhs][i][c];
        std::uint32_t& sum = tiles[kSum][r][c];
        sum = std::bit_cast<std::uint32_t>(kChunk(std::bit_cast<float>(sum), tiles[kLhs][r], column));
      }
    }
  }
};

float even(const Row& lhs, const Row& rhs) {
  float sum = 0;
  for (std::size_t i = 0; i < 16; ++i) sum = fma_f32(low(lhs[i]), low(rhs[i]), sum);
  return sum;
}
float odd(const Row& lhs, const Row& rhs) {
  float sum = 0;
  for (std::size_t i = 0; i < 16; ++i) sum = fma_f32(high(lhs[i]), high(rhs[i]), sum);
  return sum;
}
float in_order(float p, const Row& lhs, const Row& rhs) { return p + (even(lhs, rhs) + odd(lhs, rhs)); }

float chains_one_by_one(float p, const Row& lhs, const Row& rhs) { return p + even(lhs, rhs) + odd(lhs, rhs); }
float one_chain(float p, const Row& lhs, const Row& rhs) {
  float sum = 0;
  for (std::size_t i = 0; i < 16; ++i) sum = fma_f32(high(lhs[i]), high(rhs[i]), fma_f32(low(lhs[i]), low(rhs[i]), sum));
  return p + sum;
}
float backwards(float p, const Row& lhs, const Row& rhs) {
  float sums[2] = {};
  for (std::size_t i = 16; i-- > 0;) {
    sums[0] = fma_f32(low(lhs[i]), low(rhs[i]), sums[0]);
    sums[1] = fma_f32(high(lhs[i]), high(rhs[i]), sums[1]);
  }
  return p + (sums[0] + sums[1]);
}
float with_subnormals(float p, const Row& lhs, const Row& rhs) {
  const FloatEnv keeps(FloatEnv::kProducts & ~kFlushes);
  return in_order(p, lhs, rhs);
}
float towards_zero(float p, const Row& lhs, const Row& rhs) {
  const FloatEnv environment(FloatEnv::kProducts | kTowardsZero);
  return in_order(p, lhs, rhs);
}

TEST(OrderOfTiles, HoldsForChainsOfEvenAndOddPositions) { EXPECT_TRUE(amx::order_holds<Tiles<in_order>>()); }

TEST(OrderOfTiles, DoesNotHoldForAnother) {
  EXPECT_FALSE(amx::order_holds<Tiles<chains_one_by_one>>());
  EXPECT_FALSE(amx::order_holds<Tiles<one_chain>>());
  EXPECT_FALSE(amx::order_holds<Tiles<backwards>>());
}

TEST(OrderOfTiles, DoesNotHoldWithSubnormals) { EXPECT_FALSE(amx::order_holds<Tiles<with_subnormals>>()); }

TEST(OrderOfTiles, DoesNotHoldForAnotherRounding) { EXPECT_FALSE(amx::order_holds<Tiles<towards_zero>>()); }

}  // namespace
}  // namespace ragdot::cpu
