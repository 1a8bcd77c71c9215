// Weights multiplied by few rows, packed or with contiguous rows or columns: kernels have ways of their own for it, which
// differ with the rows, the formats and where scales change. Depths are those of several turns of work.
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "tests/relaid.hpp"
#include "tests/sample.hpp"

namespace ragdot::suites {
namespace {

/// Groups of 1 to 18 rows and around 32: on average few.
const std::vector<std::int64_t> kSizes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 31, 32, 33};

const std::vector<Grids> kGrids = {
    {"unscaled", Format::e4m3, Format::e4m3},
    {"unscaled e5m2", Format::e5m2, Format::e5m2},
    {"bf16", Format::bf16, Format::bf16},
    {"blockwise", Format::e4m3, Format::e4m3, Format::f32, 1, 128, Format::f32, 128, 128},
    {"channelwise", Format::e4m3, Format::e4m3, Format::f32, 1, kWholeAxis, Format::f32, kWholeAxis, 1},
    {"blocks of chunks", Format::e4m3, Format::e4m3, Format::f32, 1, 32, Format::f32, 32, 32},
    {"segments within chunks", Format::e4m3, Format::e4m3, Format::f32, 1, 48, Format::f32, 48, 64},
    {"e8m0 blocks", Format::e4m3, Format::e4m3, Format::e8m0, 1, 128, Format::e8m0, 128, 128},
    {"e8m0 blocks of 64", Format::e4m3, Format::e4m3, Format::e8m0, 1, 64, Format::e8m0, 64, 64},
    {"e8m0 blocks of chunks", Format::e4m3, Format::e5m2, Format::e8m0, 1, 32, Format::e8m0, 32, 32},
    {"e8m0 weights with f32 rows", Format::e4m3, Format::e4m3, Format::f32, 1, 96, Format::e8m0, 64, 32},
    {"mx", Format::e4m3, Format::e4m3, Format::e8m0, 1, 32, Format::e8m0, 32, 1},
};

class FewRows : public ::testing::TestWithParam<Grids> {};

INSTANTIATE_TEST_SUITE_P(All, FewRows, ::testing::ValuesIn(kGrids), [](const auto& grids) {
  std::string name = grids.param.name;
  for (char& c : name) c = c == ' ' ? '_' : c;
  return name;
});

TEST_P(FewRows, HaveTheSameBitsOnEveryKernel) {
  const std::int64_t rows = std::accumulate(kSizes.begin(), kSizes.end(), std::int64_t{0});
  std::uint64_t seed = 0;
  for (const std::int64_t depth : {608, 1043}) {
    for (const std::int64_t cols : {72, 128}) {
      const Sample sample = make_gmm(GetParam(), touching(kSizes, rows, depth, cols), Data::mixed, ++seed);
      const std::vector<std::byte> out = compute(sample);  // on every kernel, with packed weights where it has a way for them
      EXPECT_FALSE(out.empty());
      for (const std::int64_t padding : {0, 5}) {
        Relaid columns;
        relay(sample.rhs.operand(), 0, true, padding, columns);
        EXPECT_EQ(compute(sample, sample.lhs.operand(), columns.operand), out) << "contiguous columns, padding " << padding;
      }
      Relaid rows_apart;
      relay(sample.rhs.operand(), 0, false, 5, rows_apart);
      EXPECT_EQ(compute(sample, sample.lhs.operand(), rows_apart.operand), out) << "contiguous rows, padding 5";
    }
  }
}

/// As many as are multiplied at once, and more; segments end with reduction tiles and within them.
TEST_P(FewRows, OfLongRowsHaveTheSameBits) {
  const std::vector<std::int64_t> sizes = {1, 13, 2, 5, 0, 3};
  for (const std::int64_t cols : {1056, 2200}) {
    for (const std::int64_t tile : {0, 96}) {
      const Sample sample = make_gmm(GetParam(), touching(sizes, 24, 320, cols), Data::mixed, 13);
      Options options;
      if (tile > 0) options.tiling = Tiling{64, tile, 512};
      EXPECT_FALSE(compute(sample, options).empty()) << cols << " columns, tile " << tile;
    }
  }
}

/// Scales of all segments of a deep reduction tile, for few columns; one group has many rows and sets the tile.
TEST_P(FewRows, OfManySegmentsHaveTheSameBits) {
  for (const std::int64_t cols : {32, 128, 200}) {
    for (const std::int64_t tile : {0, 2048}) {
      const Sample sample = make_gmm(GetParam(), touching({60, 10, 6, 4}, 80, 2048, cols), Data::mixed, 17);
      Options options;
      options.threads = 2;
      if (tile > 0) options.tiling = Tiling{64, tile, 32};
      EXPECT_FALSE(compute(sample, options).empty()) << cols << " columns, tile " << tile;
    }
  }
}

/// Groups of 1 to 8 rows and columns of a thousand elements and more, whole and in reduction tiles.
TEST_P(FewRows, OfLongColumnsHaveTheSameBits) {
  const std::vector<std::int64_t> sizes = {1, 8, 2, 5, 0, 3, 4, 7};
  constexpr std::int64_t kRows = 30;
  for (const auto& [depth, tile] : {std::pair<std::int64_t, std::int64_t>{1000, 0}, {2003, 0}, {2003, 1024}, {4200, 0}}) {
    const Sample sample = make_gmm(GetParam(), touching(sizes, kRows, depth, 40), Data::mixed, 11);
    Options options;
    if (tile > 0) options.tiling = Tiling{64, tile, 64};
    const std::vector<std::byte> out = compute(sample, options);
    for (const std::int64_t padding : {0, 5}) {
      Relaid columns;
      relay(sample.rhs.operand(), 0, true, padding, columns);
      EXPECT_EQ(compute(sample, sample.lhs.operand(), columns.operand, options), out)
          << depth << " elements, padding " << padding;
    }
  }
}

TEST_P(FewRows, AreTheFirstOfManyRows) {
  constexpr std::int64_t kMany = 70;
  for (const std::int64_t depth : {640, 650}) {
    Sample sample = make_gmm(GetParam(), touching({kMany}, kMany, depth, 136), Data::mixed, 7);
    const std::vector<std::byte> all = compute(sample);
    Relaid columns;
    relay(sample.rhs.operand(), 0, true, 0, columns);
    Options in_tiles;
    in_tiles.tiling = Tiling{64, 512, 64};
    for (const std::int64_t few : {2, 3, 8, 9, 16, 17, 32}) {
      sample.sizes = {few};
      const std::vector<std::byte> out = compute(sample);
      for (const Options& options : {Options{}, in_tiles})
        EXPECT_EQ(compute(sample, sample.lhs.operand(), columns.operand, options), out) << few << " rows, contiguous columns";
      EXPECT_EQ(rows_of(sample, out, 0, 0, few), rows_of(sample, all, 0, 0, few)) << few << " rows";
    }
  }
}

}  // namespace
}  // namespace ragdot::suites
