// Tiny products worked out by hand: each pins one rule of the reduction order.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "ragdot/ragdot.hpp"

namespace ragdot::suites {
namespace {

/// One row times one column, f32 out; `before` is what out holds.
struct Dot {
  std::vector<float> scales = {1};
  std::int64_t block = kWholeAxis;
  std::vector<float> rhs_scales = {1};
  OutMode mode = OutMode::overwrite;
  Format out_format = Format::f32;
  Activation activation = Activation::none;
  std::vector<float> bias;

  /// e4m3 codes with f32 scales.
  [[nodiscard]] float codes(const std::vector<std::uint8_t>& lhs, const std::vector<std::uint8_t>& rhs,
                            float before = 0) const {
    const auto k = static_cast<std::int64_t>(lhs.size());
    GmmArgs args;
    args.lhs =
        Operand(matrix(static_cast<const void*>(lhs.data()), Format::e4m3, 1, k),
                {matrix(static_cast<const void*>(scales.data()), Format::f32, 1, static_cast<std::int64_t>(scales.size())), 1,
                 block, ScaleOrigin::global});
    args.rhs = Operand(matrices(static_cast<const void*>(rhs.data()), Format::e4m3, 1, k, 1),
                       {matrices(static_cast<const void*>(rhs_scales.data()), Format::f32, 1, 1, 1), kWholeAxis, kWholeAxis,
                        ScaleOrigin::global});
    return finish(args, before);
  }

  /// bf16 values without scales.
  [[nodiscard]] float bf16(const std::vector<float>& lhs, const std::vector<float>& rhs) const {
    const auto k = static_cast<std::int64_t>(lhs.size());
    std::vector<std::uint16_t> a;
    std::vector<std::uint16_t> b;
    for (const float x : lhs) a.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16));
    for (const float x : rhs) b.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16));
    GmmArgs args;
    args.lhs = matrix(static_cast<const void*>(a.data()), Format::bf16, 1, k);
    args.rhs = matrices(static_cast<const void*>(b.data()), Format::bf16, 1, k, 1);
    return finish(args, 0);
  }

 private:
  [[nodiscard]] float finish(GmmArgs& args, float out) const {
    const std::vector<std::int32_t> sizes = {1};
    std::uint16_t half = 0;
    args.groups = Groups::from_sizes(std::span(sizes));
    args.out = out_format == Format::f32 ? matrix(static_cast<void*>(&out), Format::f32, 1, 1)
                                         : matrix(static_cast<void*>(&half), out_format, 1, 1);
    args.out_mode = mode;
    args.activation = activation;
    if (!bias.empty()) args.bias = matrix(static_cast<const void*>(bias.data()), Format::f32, 1, 1);
    const Status status = gmm(args);
    EXPECT_TRUE(status.ok()) << status.message();
    return out_format == Format::f32 ? out : std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
  }
};

constexpr std::uint8_t kOne = 0x38;

std::vector<float> ones(std::size_t count) { return std::vector<float>(count, 1.0F); }

TEST(Golden, EvenAndOddPositionsAreTwoChainsOfAChunk) {
  std::vector<float> a(32, 0.0F);
  a[0] = 1;
  a[2] = a[4] = 0x1p-24F;  // lost one by one behind the 1
  a[1] = a[3] = 0x1p-24F;  // kept together: 2^-23
  EXPECT_EQ(Dot().bf16(a, ones(32)), 1.0F + 0x1p-23F);
}

TEST(Golden, EvenAndOddAreAddedBeforeTheSum) {
  std::vector<float> a(64, 0.0F);
  a[0] = 1;          // first chunk: p = 1
  a[32] = 0x1p-24F;  // second chunk: e + o = 2^-23, which 1 can hold
  a[33] = 0x1p-24F;
  EXPECT_EQ(Dot().bf16(a, ones(64)), 1.0F + 0x1p-23F);
}

TEST(Golden, AChunkHas32Elements) {
  std::vector<float> a(64, 0.0F);
  a[0] = 1;
  a[2] = 0x1p-24F;   // lost in the chain of the first chunk
  a[32] = 0x1p-24F;  // a chain of its own with the next: 2^-23
  a[34] = 0x1p-24F;
  EXPECT_EQ(Dot().bf16(a, ones(64)), 1.0F + 0x1p-23F);
}

TEST(Golden, SegmentsAreAddedByAnFmaWithARoundedScaleProduct) {
  Dot dot;
  dot.block = 1;
  dot.scales = {1.0F + 0x1p-12F};
  dot.rhs_scales = {1.0F + 0x1p-12F};
  // The scale product 1 + 2^-11 + 2^-24 rounds to 1 + 2^-11; times 3 it stays exact.
  EXPECT_EQ(dot.codes({0x44}, {kOne}), 3.0F * (1.0F + 0x1p-11F));
  dot.scales = {-1.0F, 1.0F + 0x1p-23F};
  dot.rhs_scales = {1.0F};
  // fma(1 + 2^-23, 1.125, -1.25) is exact before its rounding; a rounded product 1.125 + 2^-23 would lose 2^-26.
  const float expected = std::fma(1.0F + 0x1p-23F, 1.125F, -1.25F);
  EXPECT_EQ(dot.codes({0x3a, 0x39}, {kOne, kOne}), expected);
  EXPECT_NE(expected, (1.0F + 0x1p-23F) * 1.125F - 1.25F);
}

TEST(Golden, EverySegmentHasItsOwnScale) {
  Dot dot;
  dot.block = 2;
  dot.scales = {1, 100};
  EXPECT_EQ(dot.codes({kOne, 0, 0, kOne}, std::vector<std::uint8_t>(4, kOne)), 101.0F);
}

TEST(Golden, SubnormalCodesCountAndSubnormalScalesDoNot) {
  EXPECT_EQ(Dot().codes({0x01}, {kOne}), 0x1p-9F);
  Dot dot;
  dot.scales = {0x1p-127F};
  dot.rhs_scales = {0x1p100F};
  EXPECT_EQ(dot.codes({kOne}, {kOne}), 0.0F);
}

TEST(Golden, AZeroResultIsPlusZero) {
  Dot dot;
  dot.scales = {-1};
  EXPECT_FALSE(std::signbit(dot.codes({0x01}, {0})));
  dot.scales = {0x1p-120F};
  dot.rhs_scales = {-0x1p-5F};
  EXPECT_FALSE(std::signbit(dot.codes({0x01}, {kOne}))) << "a tiny negative result is flushed to +0";
}

TEST(Golden, BlockSumsAreKeptInF32) {
  EXPECT_EQ(Dot().codes(std::vector<std::uint8_t>(40, 0x39), std::vector<std::uint8_t>(40, 0x39)), 40 * 1.125F * 1.125F);
}

TEST(Golden, Bf16OutputIsRoundedNotCut) {
  Dot dot;
  dot.out_format = Format::bf16;
  dot.scales = {1.0F + 0x1.8p-8F};
  EXPECT_EQ(dot.codes({kOne}, {kOne}), 1.0F + 0x1p-7F);
}

TEST(Golden, AccumulationAddsOnce) {
  Dot dot;
  dot.mode = OutMode::accumulate;
  EXPECT_EQ(dot.codes({0x44}, {kOne}, 0.25F), 3.25F);
}

TEST(Golden, BiasComesBeforeTheActivation) {
  Dot dot;
  dot.bias = {-5};
  dot.activation = Activation::relu;
  EXPECT_EQ(dot.codes({0x44}, {kOne}), 0.0F);
}

}  // namespace
}  // namespace ragdot::suites
