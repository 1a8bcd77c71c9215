// Ratios by name, from made rows.
#include "bench/ratios.hpp"

#include <gtest/gtest.h>

#include <map>

namespace ragdot::bench {
namespace {

Row row(const std::string& recipe, double median, const std::string& contender = kRagdot) {
  Row r;
  r.op = "gmm";
  r.entry.shape = "w0";
  r.entry.recipe = recipe;
  r.entry.contender = contender;
  r.kernel = contender == kRagdot ? "amx" : "brg";
  r.threads = 2;
  r.operations = 100;
  r.time = summarise(std::vector<Timings>{{median}, {median}, {median}});
  return r;
}

std::map<std::string, double> ratios(const std::vector<Row>& rows) {
  std::map<std::string, double> values;
  for (const Ratio& r : ratios_of(rows)) values[r.name] = r.quotient.value;
  return values;
}

using Map = std::map<std::string, double>;

TEST(Ratios, RecipesAndRivals) {
  EXPECT_EQ(ratios({row("bf16", 2), row("channelwise", 4), row("blockwise", 6), row("bf16", 12, kOneDnn)}),
            (Map{{"gmm.w0.channelwise/bf16", 2},
                 {"gmm.w0.blockwise/bf16", 3},
                 {"gmm.w0.blockwise/channelwise", 1.5},
                 {"gmm.w0.onednn_bf16/bf16", 6},
                 {"gmm.w0.onednn_bf16/channelwise", 3},
                 {"gmm.w0.onednn_bf16/blockwise", 2}}));
}

TEST(Ratios, RefusedRowsHaveNone) {
  Row wrong = row("blockwise", 6);
  wrong.outcome = Outcome::wrong;
  EXPECT_EQ(ratios({row("bf16", 2), wrong}), Map{});
}

TEST(Ratios, KernelsAndThreads) {
  Row kernel = row("blockwise", 6);
  kernel.kernel = "avx2";
  EXPECT_EQ(ratios({row("blockwise", 2), kernel}), (Map{{"gmm.w0.blockwise.avx2/amx", 3}}));
  Row alone = row("blockwise", 6);
  alone.threads = 1;
  const Map expected = {{"gmm.w0.blockwise.threads1/threads2", 3}};
  EXPECT_EQ(ratios({row("blockwise", 2), alone}), expected);
  EXPECT_EQ(ratios({alone, row("blockwise", 2)}), expected);
}

TEST(Ratios, ShapesByTheTimeOfAnOperation) {
  Row large = row("blockwise", 6);
  large.entry.shape = "groups256";
  large.operations = 200;
  EXPECT_EQ(ratios({row("blockwise", 2), large}), (Map{{"gmm.blockwise.groups256/w0", 1.5}}));
}

TEST(Ratios, TilingsAgainstTheAutomaticOne) {
  Row good = row("blockwise", 4);
  good.entry.problem.tile = Tiling{64, 64, 64};
  Row bad = row("blockwise", 8);
  bad.entry.problem.tile = Tiling{512, 64, 64};
  EXPECT_EQ(ratios({row("blockwise", 5), bad, good}), (Map{{"gmm.w0.blockwise.tile_auto/tile_best", 1.25}}));
}

TEST(Ratios, HowFarTheyLieApartOverTheStarts) {
  Row base = row("bf16", 1);
  base.time = summarise(std::vector<Timings>{{1}, {2}, {4}});
  Row mine = row("blockwise", 1);
  mine.time = summarise(std::vector<Timings>{{2}, {3}, {8}});
  const Quotient q = ratios_of({base, mine}).front().quotient;
  EXPECT_DOUBLE_EQ(q.value, 2);
  EXPECT_DOUBLE_EQ(q.low, 1.5);
  EXPECT_DOUBLE_EQ(q.high, 2);
}

TEST(Ratios, TheBestTileIsTheOneThatWasAheadInMostRounds) {
  const auto tiled = [](std::vector<Timings> starts) {
    Row r = row("blockwise", 1);
    r.entry.problem.tile = Tiling{64, 64, 64};
    r.time = summarise(starts);
    return r;
  };
  Row automatic = row("blockwise", 1);
  automatic.time = summarise(std::vector<Timings>{{1, 1, 2, 2, 2}});
  const Row level = tiled({{1, 1, 1, 2, 2}});  // its third turn came before the machine became slower
  const Row ahead = tiled({{0.8, 0.8, 1.6, 1.6, 1.6}});
  EXPECT_EQ(ratios({automatic, level, ahead}), (Map{{"gmm.w0.blockwise.tile_auto/tile_best", 1.25}}));
}

TEST(Ratios, Bandwidths) {
  Row cold = row("blockwise", 1);
  cold.weight_copies = 3;
  cold.of_read_bandwidth = {0.75, 0.5, 1};
  EXPECT_EQ(ratios({cold}), (Map{{"gmm.w0.blockwise/read_bandwidth", 0.75}}));
  EXPECT_EQ(ratios_of({cold}).front().quotient.high, 1);
  Row copied = row("e4m3", 1);
  copied.of_copy_bandwidth.value = 0.5;
  EXPECT_EQ(ratios({copied}), (Map{{"gmm.w0.e4m3/copy_bandwidth", 0.5}}));
}

}  // namespace
}  // namespace ragdot::bench
