// Presets and choices: every problem is legal, and users get what they chose.
#include "bench/presets.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "bench/limits.hpp"
#include "ragdot/kernels.hpp"
#include "testing/presets.hpp"
#include "testing/sizes.hpp"

namespace ragdot::bench {
namespace {

using ::testing::HasSubstr;

TEST(BenchPresets, EveryNameHasLegalComparisonsWithTheLibraryInEach) {
  for (const char* name : testing::preset_names()) {
    const auto agenda = preset(name, {});
    ASSERT_TRUE(agenda.ok()) << name;
    EXPECT_FALSE(agenda.value().comparisons.empty());
    for (const Comparison& c : agenda.value().comparisons) {
      std::set<std::string> seen;
      bool library = false;
      for (const Entry& e : c.entries) {
        std::int64_t rows = 0;
        for (const std::int64_t size : testing::group_sizes(e.problem)) rows += size;
        EXPECT_LE(rows, e.problem.m) << to_string(e.problem);
        EXPECT_TRUE(testing::parse_problem(to_string(e.problem)).ok());
        EXPECT_TRUE(seen.insert(to_string(e.problem) + e.contender).second) << "twice: " << to_string(e.problem);
        library = library || e.contender == kRagdot;
      }
      EXPECT_TRUE(library) << c.title;
    }
  }
  EXPECT_EQ(preset("seed", {}).value().starts, 5);
  EXPECT_EQ(preset("moe", {}).value().starts, 3);
  EXPECT_THAT(preset("sed", {}).status().message(), HasSubstr("did you mean seed?"));
}

TEST(BenchPresets, UnalignedAndAlignedGroupsHaveTheSameRows) {
  const auto agenda = preset("skew", {});
  for (const Comparison& c : agenda.value().comparisons) {
    if (c.entries.front().shape != "aligned256") continue;
    const auto sizes = testing::group_sizes(c.entries[1].problem);
    std::int64_t start = 0;
    std::int64_t aligned = 0;
    for (const std::int64_t size : sizes) {
      aligned += start % 128 == 0 ? 1 : 0;
      start += size;
    }
    EXPECT_EQ(start, 2048);
    EXPECT_EQ(aligned, 1) << "only the first";
    return;
  }
  FAIL() << "the comparison is missing";
}

std::vector<Entry> entries_of(const std::string& problem, const Choices& choices) {
  const auto agenda = agenda_of(testing::parse_problem(problem).value(), choices);
  return agenda.ok() ? agenda.value().comparisons.front().entries : std::vector<Entry>{};
}

constexpr const char* kBlockwiseProblem = "gmm g=2 m=64 k=256 n=128 lhs=e4m3:1x128 rhs=e4m3:128x128";

TEST(BenchChoices, AProblemStandsBesideBf16AndOneDnn) {
  const auto entries = entries_of(kBlockwiseProblem, {});
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].recipe, "blockwise");
  EXPECT_EQ(to_string(entries[1].problem), "gmm g=2 m=64 k=256 n=128 lhs=bf16 rhs=bf16");
  EXPECT_EQ(entries[2].contender, kOneDnn);
  EXPECT_EQ(recipe_of(testing::parse_problem("gmm g=2 m=64 k=256 n=128 lhs=e4m3:1x64 rhs=e4m3:128x128").value()), "custom");
}

TEST(BenchChoices, KernelsThreadsAndTilingsMultiply) {
  EXPECT_EQ(entries_of(kBlockwiseProblem, {.kernels = {"a", "b"}, .threads = {1, 2}}).size(), 2U * 4 + 2);
  const auto swept = entries_of(kBlockwiseProblem, {.tilings = Tilings::swept});
  EXPECT_EQ(swept.size(), 28U) << "27 tilings and the automatic one";
  EXPECT_FALSE(swept.front().problem.tile.has_value());
  EXPECT_EQ(entries_of(kBlockwiseProblem, {.recipes = {"mx", "i8"}, .rivals = Rivals::without}).size(), 2U);
  const auto seed = preset("seed", {.recipes = {"bf16"}, .tilings = Tilings::swept});
  EXPECT_EQ(seed.value().comparisons.front().entries.size(), 19U);
}

TEST(BenchChoices, Refusals) {
  EXPECT_THAT(preset("seed", {.recipes = {"blokwise"}}).status().message(), HasSubstr("did you mean blockwise?"));
  EXPECT_THAT(preset("decode", {.recipes = {"i8"}}).status().message(), HasSubstr("nothing here has recipe i8"));
}

TEST(PeakOf, KnowsEveryKernelOfThisBuild) {
  for (const KernelInfo& kernel : list_kernels()) {
    EXPECT_NE(peak_of(kernel.name, Integers::no), "") << kernel.name << " needs a line in bench/limits.cpp";
    EXPECT_NE(peak_of(kernel.name, Integers::yes), "") << kernel.name;
  }
  const std::vector<std::string> limits = all_limits();
  const auto has = [&](const char* peak) { return std::ranges::find(limits, peak) != limits.end(); };
  EXPECT_EQ(peak_of("amx", Integers::yes), has("amx_int8") ? "amx_int8" : "amx_bf16");
  EXPECT_EQ(peak_of("avx512bf16", Integers::yes), has("avx512_vnni") ? "avx512_vnni" : "avx512_bf16");
  EXPECT_EQ(peak_of("avx512", Integers::yes), has("avx512_vnni") ? "avx512_vnni" : "fma_f32");
  EXPECT_EQ(peak_of("avx2", Integers::yes), "avx2_fma_f32");
  EXPECT_EQ(peak_of("none", Integers::no), "");
}

}  // namespace
}  // namespace ragdot::bench
