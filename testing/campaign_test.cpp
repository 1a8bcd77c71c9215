// The random campaign: its cases are fixed, legal and varied, its answers are right to the bit, and it finds what is wrong.
#include "testing/campaign.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "testing/answers.hpp"
#include "testing/examine.hpp"
#include "testing/expected.hpp"
#include "testing/words.hpp"

namespace ragdot::testing {
namespace {

constexpr std::uint64_t kCases = 3000;

/// The list of cases is part of what results are quoted with: a change of the generator shows here.
TEST(RandomCases, AreTheSameEverywhere) {
  std::uint64_t hash = 0;
  for (std::uint64_t i = 0; i < kCases; ++i) {
    const RandomCase random = random_case(1, i);
    for (const char c : to_string(random.problem) + to_string(random.call))
      hash = hash * 0x100000001b3ULL + static_cast<unsigned char>(c);
  }
  EXPECT_EQ(hash, 7984677354995550335ULL)
      << "the generator changed: results of older campaigns are no longer those of the same seed";
}

TEST(RandomCases, DependOnSeedAndIndex) {
  EXPECT_NE(to_string(random_case(1, 0).problem), to_string(random_case(1, 1).problem));
  EXPECT_NE(to_string(random_case(1, 0).problem), to_string(random_case(2, 0).problem));
  EXPECT_EQ(to_string(random_case(9, 4).problem), to_string(random_case(9, 4).problem));
}

TEST(RandomCases, ParseBackFromTheirProblemStrings) {
  for (std::uint64_t i = 0; i < kCases; ++i) {
    const std::string text = to_string(random_case(1, i).problem);
    const auto parsed = parse_problem(text);
    ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status().message();
    ASSERT_EQ(to_string(parsed.value()), text);
  }
}

/// Every word of the problem string and every way of calling appears often enough.
TEST(RandomCases, StarveNothing) {
  Coverage coverage;
  for (std::uint64_t i = 0; i < kCases; ++i) count_properties(random_case(1, i), coverage);
  const auto expect_often = [&](const char* property, const std::string& value) {
    EXPECT_GE(coverage[property][value], 10) << property << ": " << value;
  };
  const auto expect_all = [&](const char* property, const auto& table) {
    for (const auto& [word, value] : table) expect_often(property, word);
  };
  expect_all("dist", kDistributions);
  expect_all("out", kOutFormats);
  expect_all("act", kActivations);
  expect_all("data", kFamilies);
  expect_all("recipe", kRecipes);
  expect_all("origin", kOrigins);
  expect_all("rows_outside", kRowsOutside);
  expect_all("group metadata", kGroupKinds);
  for (const char* op : {"gmm kn", "gmm nk", "dlhs kn", "dlhs nk", "tgmm"}) expect_often("op", op);
  for (const char* lhs : {"bf16", "e4m3", "e5m2"}) {
    for (const char* rhs : {"bf16", "e4m3", "e5m2"}) expect_often("formats", std::string(lhs) + " x " + rhs);
  }
  expect_often("formats", "f32 x f32");
  expect_often("formats", "i8 x i8");
  for (const char* lhs : {"none", "f32", "bf16", "e8m0"}) {
    for (const char* rhs : {"none", "f32", "bf16", "e8m0"}) expect_often("scales", std::string(lhs) + " x " + rhs);
  }
  for (const char* rows : {"1", "32 i", "other", "*"}) {
    for (const char* cols : {"1", "32 i", "other", "*"}) {
      expect_often("lhs grid", std::string(rows) + " x " + cols);
      expect_often("rhs grid", std::string(rows) + " x " + cols);
    }
  }
  for (const char* cut : {"uncut", "cut by one operand", "cut alike", "one divides the other", "neither divides the other"})
    expect_often("reduction axis", cut);
  for (const char* axis : {"m", "k", "n"}) {
    for (const char* extent : {"0", "1", "2..31", "32..99", "100..300", "301..3000"}) expect_often(axis, extent);
  }
  // These take long.
  EXPECT_GE(coverage["k"]["above 3000"], 1);
  EXPECT_GE(coverage["out of more than 4 MiB"]["yes"], 1);
  for (const char* count : {"0", "1", "2..8", "9..40"}) expect_often("groups", count);
  for (const char* empty : {"none", "some", "all"}) expect_often("empty groups", empty);
  for (const char* local : {"all", "none", "first ones", "from a later one"}) expect_often("local groups", local);
  for (const char* what : {"lhs", "rhs", "lhs scales", "rhs scales", "out"}) {
    const std::string property = std::string(what) + " layout";
    for (const char* layout : {"dense", "transposed", "interleaved", "padded", "offset"})
      expect_often(property.c_str(), layout);
    if (property != "lhs layout" && property != "rhs layout") expect_often(property.c_str(), "gaps");
  }
  for (const char* property : {"gaps", "rows of no group", "accumulate", "bias"}) expect_often(property, "yes");
  expect_often("weights", "packed");
  expect_often("entry", "plan");
  expect_often("entry", "one shot");
  expect_often("executor", "std::threads");
  expect_often("group index", "int32");
  expect_often("tile", "auto");
  expect_often("tile", "given");
}

TEST(Outputs, AreStoredAsTheyAreRead) {
  for (const Format format : {Format::bf16, Format::f16}) {
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const auto half = static_cast<std::uint16_t>(bits);
      const double x = output_at(format, &half, 0);
      const std::uint16_t canonical = format == Format::bf16 ? 0x7fc0 : 0x7e00;
      if (format == Format::bf16 && x != 0 && std::abs(x) < 0x1p-126) continue;  // no output is subnormal there
      std::uint16_t stored = 0;
      store_output(format, x, &stored, 0);
      ASSERT_EQ(stored, std::isnan(x) ? canonical : half) << name(format) << " " << x;
    }
  }
}

CampaignReport campaign_of(std::int64_t cases, int workers, std::uint64_t first = 0) {
  CampaignOptions options;
  options.cases = cases;
  options.workers = workers;
  options.first = first;
  return run_campaign(options);
}

TEST(Campaign, HoldsAndDoesNotDependOnItsWorkers) {
  const CampaignReport one = campaign_of(60, 1);
  const CampaignReport two = campaign_of(60, 2);
  EXPECT_TRUE(one.failures.empty()) << one.failures.front().sentence;
  EXPECT_EQ(one.cases, 60);
  EXPECT_EQ(one.coverage, two.coverage);
  ASSERT_EQ(one.tallies.size(), two.tallies.size());
  for (const auto& [key, tally] : one.tallies) {
    const Tally& other = two.tallies.at(key);
    EXPECT_GT(tally.cases, 0) << key.first;
    EXPECT_GT(tally.outputs, 0) << key.first;
    EXPECT_EQ(tally.differing_bits, 0);
    EXPECT_EQ(tally.outputs, other.outputs);
    EXPECT_EQ(tally.worst_over_bound, other.worst_over_bound);
  }
}

/// Results of a case whose answers are known, with one output changed.
class Spoiled : public ::testing::Test {
 protected:
  Bytes result(const Case& c) {
    Bytes out;
    EXPECT_TRUE(run(c, {}, out).ok());
    return out;
  }
  Problem problem(const std::string& text) { return parse_problem(text).value(); }
};

TEST_F(Spoiled, OneBitOfOneOutputIsFound) {
  for (const char* rest :
       {" out=f32", " out=bf16", " out=f16", " bias=1", " bias=1 act=relu", " accumulate=1", " rows_outside=leave"}) {
    const Case c(
        problem(std::string("gmm g=3 m=30 k=70 n=9 lhs=e4m3:1x32 rhs=e4m3:32x16 dist=sizes:9,0,12 starts=2,11,14") + rest));
    const auto row_bytes = static_cast<std::size_t>(9 * element_bytes(c.problem.out));
    const Answers answers(c);
    Bytes out = result(c);
    EXPECT_TRUE(answers.has_bits());
    EXPECT_EQ(answers.compare_with_order(out).wrong, 0) << rest << answers.compare_with_order(out).first_bad;
    EXPECT_EQ(answers.compare_with_bound(out).wrong, 0) << rest << answers.compare_with_bound(out).first_bad;
    for (const std::size_t row : {3U, 0U, 13U, 29U}) {  // in a group, before the first, in a gap, behind the last
      out[row * row_bytes] ^= std::byte{1};
      const Comparison found = answers.compare_with_order(out);
      EXPECT_EQ(found.wrong, 1) << rest;
      out[row * row_bytes] ^= std::byte{1};
    }
  }
}

TEST_F(Spoiled, AnActivationsResultMayBeOffByItsOwnErrorOnly) {
  const Case c(problem("gmm g=2 m=20 k=70 n=9 lhs=bf16 rhs=bf16 out=f32 bias=1 act=silu"));
  const Answers answers(c);
  Bytes out = result(c);
  EXPECT_FALSE(answers.has_bits());
  EXPECT_EQ(answers.compare_with_order(out).wrong, 0) << answers.compare_with_order(out).first_bad;
  std::int64_t i = 0;
  while (output_at(Format::f32, out.data(), i) < 1) ++i;
  store_output(Format::f32, output_at(Format::f32, out.data(), i) * (1 + 0x1p-18), out.data(), i);
  EXPECT_EQ(answers.compare_with_order(out).wrong, 1);
}

/// The last kernel gets one bit wrong in every product with a bias and more than 20 columns.
void wrong_with_bias(const Case& c, std::string_view kernel, Bytes& out) {
  if (kernel == "portable" && c.problem.bias && c.out_cols() > 20 && !out.empty()) out[0] ^= std::byte{1};
}

TEST(CampaignFinds, AMistakeOfOneKernelAndMakesTheProblemSmall) {
  CampaignOptions options;
  options.cases = 200;
  options.failures = 1;
  options.workers = 1;
  options.spoil = wrong_with_bias;
  const CampaignReport report = run_campaign(options);
  ASSERT_EQ(report.failures.size(), 1U);
  const CampaignFailure& failure = report.failures.front();
  EXPECT_EQ(report.cases, static_cast<std::int64_t>(failure.index) + 1) << "it stops there";
  EXPECT_EQ(failure.kernel, "portable");
  EXPECT_NE(failure.sentence.find("1 of "), std::string::npos) << failure.sentence;
  const auto smaller = parse_problem(shrunk(failure, wrong_with_bias));
  ASSERT_TRUE(smaller.ok()) << smaller.status().message();
  EXPECT_TRUE(smaller.value().bias);
  EXPECT_EQ(smaller.value().m, 1);
  EXPECT_EQ(smaller.value().op == Op::dlhs ? smaller.value().k : smaller.value().n, 21);
  EXPECT_EQ(smaller.value().op == Op::dlhs ? smaller.value().n : smaller.value().k, 0);
  EXPECT_EQ(smaller.value().act, Activation::none);
}

TEST(CampaignFinds, NothingToShrinkInWhatIsRight) {
  CampaignFailure failure;
  failure.kernel = "portable";
  failure.random = random_case(1, 0);
  EXPECT_EQ(shrunk(failure), "");
}

}  // namespace
}  // namespace ragdot::testing
