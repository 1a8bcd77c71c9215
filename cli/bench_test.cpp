// ragdot bench as a user runs it, and the comparison of its results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/planted.hpp"
#include "cli/bench_chart.hpp"
#include "cli/bench_compare.hpp"
#include "cli/bench_report.hpp"
#include "cli/test_files.hpp"

namespace ragdot::cli {
namespace {

using ::testing::HasSubstr;
using BenchVerb = Files;
using BenchCompare = Files;

const std::vector<std::string> kProblem = {"bench",          "gmm",       "g=2", "m=40", "k=64", "n=32", "lhs=e4m3:1x32",
                                           "rhs=e4m3:32x32", "--seconds", "0.05"};

std::vector<std::string> with(std::vector<std::string> words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST_F(BenchVerb, JsonHasTheAgreedKeys) {
  ASSERT_EQ(command(with(kProblem, {"--json", path("b.json")})), kOk);
  const auto json = nlohmann::json::parse(load("b.json"));
  EXPECT_EQ(json["command"], "bench");
  EXPECT_THAT(json["command_line"].get<std::string>(), HasSubstr("ragdot bench gmm g=2 m=40"));
  for (const char* key : {"cpu", "isa", "threads", "peak_tflops", "read_gbs", "copy_gbs"})
    EXPECT_TRUE(json["machine"].contains(key)) << key;
  for (const char* key : {"amx_bf16", "avx512_bf16", "fma_f32"})
    EXPECT_TRUE(json["machine"]["peak_tflops"].contains(key)) << key;
  ASSERT_GE(json["rows"].size(), 2U);
  for (const char* key : {"problem", "op", "shape", "recipe", "contender", "kernel", "threads", "median_s", "min_s", "max_s",
                          "runs", "tflops", "gbs", "of_peak", "of_read_bandwidth", "q1_s", "q3_s"}) {
    EXPECT_TRUE(json["rows"][0].contains(key)) << key;
  }
  EXPECT_EQ(json["rows"][0]["problem"], "gmm g=2 m=40 k=64 n=32 lhs=e4m3:1x32 rhs=e4m3:32x32");
  EXPECT_GT(json["ratios"]["gmm.problem.custom/bf16"].get<double>(), 0);
}

TEST_F(BenchVerb, ExitCodes) {
  EXPECT_EQ(command({"bench"}), kUsage);
  EXPECT_EQ(command({"bench", "--preset", "sed"}), kUsage);
  EXPECT_EQ(command({"bench", "--preset", "seed", "--recipes", "mxx"}), kUsage);
  EXPECT_EQ(command({"bench", "gmm", "g=2"}), kUsage);
  EXPECT_EQ(command(with(kProblem, {"--onednn", "maybe"})), kUsage);
  EXPECT_EQ(command(with(kProblem, {"--onednn", "off", "--kernel", "none"})), kNotPossible);
  EXPECT_EQ(command(with(kProblem, {"--onednn", "off", "--threads", "1,2"})), kOk);
  bench::Row row;
  EXPECT_EQ(exit_code_of({row}), kOk);
  row.outcome = bench::Outcome::impossible;
  bench::Row rival = row;
  rival.entry.contender = bench::kOneDnn;
  EXPECT_EQ(exit_code_of({bench::Row(), row, rival}), kOk) << "a build without oneDNN is no failure";
  EXPECT_EQ(exit_code_of({row}), kNotPossible);
  rival.outcome = bench::Outcome::wrong;
  EXPECT_EQ(exit_code_of({row, rival}), kCheckFailed);
}

/// A result with one row for each list of timings.
Json result(const std::vector<std::vector<double>>& timings) {
  BenchReport report;
  for (std::size_t i = 0; i < timings.size(); ++i) {
    bench::Row row;
    row.op = "gmm";
    row.entry.shape = fmt::format("shape{}", i);
    row.entry.recipe = "blockwise";
    row.threads = 2;
    row.time = bench::summarise(timings[i]);
    report.rows.push_back(row);
  }
  return json_of(report);
}

const std::vector<double> kSteady = {1.00, 1.01, 1.00, 1.02, 1.01, 0.99, 1.00};
const std::vector<double> kWild = {1.00, 1.30, 0.80, 1.02, 1.25, 0.75, 1.00};

std::vector<double> times(std::vector<double> seconds, double factor) {
  for (double& s : seconds) s *= factor;
  return seconds;
}

TEST_F(BenchCompare, FindsAPlantedSlowdownOfTenPercent) {
  store("old.json", result({kSteady, kSteady}).dump());
  store("new.json", result({kSteady, times(kSteady, 1.1)}).dump());
  EXPECT_EQ(command({"bench", "--compare", path("old.json"), path("new.json")}), kCheckFailed);
  EXPECT_EQ(command({"bench", "--compare", path("old.json"), path("new.json"), "--threshold", "15"}), kOk);
  EXPECT_EQ(command({"bench", "--compare", path("new.json"), path("old.json")}), kOk) << "faster is no regression";
  const auto changes = changes_between(result({kSteady, kSteady}), result({kSteady, times(kSteady, 1.1)}));
  ASSERT_TRUE(changes.ok());
  EXPECT_THAT(changes.value().rows.front().name, HasSubstr("gmm shape1 blockwise ragdot"));
  EXPECT_NEAR(changes.value().rows.front().percent, 10, 1e-6);
  EXPECT_TRUE(changes.value().rows.front().beyond_spread);
  EXPECT_FALSE(changes.value().rows.back().beyond_spread);
}

TEST_F(BenchCompare, WhatLiesWithinTheSpreadIsNoChange) {
  store("old.json", result({kWild}).dump());
  store("new.json", result({times(kWild, 1.1)}).dump());
  EXPECT_EQ(command({"bench", "--compare", path("old.json"), path("new.json")}), kOk);
}

TEST_F(BenchCompare, NamesRowsThatStandAloneAndOtherCpus) {
  Json other = result({kSteady});
  other["machine"]["cpu"] = "another";
  const auto changes = changes_between(result({kSteady, kSteady}), other);
  ASSERT_TRUE(changes.ok());
  ASSERT_EQ(changes.value().only_old.size(), 1U);
  EXPECT_THAT(changes.value().only_old.front(), HasSubstr("shape1"));
  EXPECT_THAT(changes.value().warning, HasSubstr("different CPUs"));
}

TEST_F(BenchCompare, RefusesWhatIsNoResult) {
  store("ok.json", result({kSteady}).dump());
  store("empty.json", result({}).dump());
  store("broken.json", "{");
  store("other.json", "{\"command\":\"verify\"}");
  store("row.json", "{\"command\":\"bench\",\"rows\":[{\"op\":\"gmm\"}]}");
  for (const char* name : {"absent.json", "broken.json", "other.json", "row.json", "empty.json"})
    EXPECT_EQ(command({"bench", "--compare", path("ok.json"), path(name)}), kUsage) << name;
  EXPECT_EQ(command({"bench", "--compare", path("ok.json")}), kUsage);
}

/// The library against itself with a tenth of each call's time lost, timed for real. Neighbours on a shared machine can hide it
/// for a while, so it has three attempts.
TEST_F(BenchCompare, FindsARealSlowdownOfTenPercent) {
  const auto problem = testing::parse_problem("gmm g=2 m=128 k=256 n=256 lhs=e4m3:1x128 rhs=e4m3:128x128 threads=1").value();
  const bench::Entry plain{problem, "small", "blockwise", bench::kRagdot, bench::Stage::product};
  bench::Entry slowed = plain;
  slowed.shape = "slowed";
  bench::Settings settings;
  settings.budget = {.seconds = 1, .least_rounds = 31};
  settings.make = [](const bench::Entry& e, const std::shared_ptr<const testing::Case>& c,
                     const bench::Weights& w) -> bench::MadeContender {
    auto made = bench::make_contender(e, c, w);
    if (e.shape == "small" || !made.ok()) return made;
    return std::unique_ptr<bench::Contender>(std::make_unique<bench::TenthSlower>(std::move(made.value())));
  };
  bench::Meter meter;
  bench::LimitSamples limits;
  std::string seen;
  for (int attempt = 0; attempt < 3; ++attempt) {
    auto rows = bench::run_comparison({"test", {plain, slowed}, bench::Comparison::Caches::warm}, settings, meter, limits);
    rows[1].entry.shape = "small";
    BenchReport before;
    before.rows = {rows[0]};
    BenchReport after;
    after.rows = {rows[1]};
    const auto changes = changes_between(json_of(before), json_of(after));
    ASSERT_TRUE(changes.ok()) << changes.status().message();
    const Change& change = changes.value().rows.front();
    if (change.beyond_spread && change.percent > 5 && change.percent < 20) return;
    seen += fmt::format(" {:.1f} %", change.percent);
  }
  FAIL() << "seen:" << seen;
}

TEST(BenchChart, BarsAreRelativeToTheFastest) {
  bench::Row plain;
  plain.entry.shape = "w0";
  plain.entry.recipe = "bf16";
  plain.kernel = "amx";
  plain.threads = 2;
  plain.operations = 1;
  plain.time = bench::summarise(std::vector<double>{4});
  plain.of_peak = 0.25;
  bench::Row fast = plain;
  fast.entry.recipe = "blockwise";
  fast.time = bench::summarise(std::vector<double>{2});
  fast.of_peak = 0.5;
  const std::string chart = chart_of({plain, fast});
  EXPECT_THAT(
      chart,
      HasSubstr("w0 bf16 amx x2                               ████████████              1.00  ██████                     25%"));
  EXPECT_THAT(chart, HasSubstr("████████████████████████  2.00  ████████████               50%"));
  EXPECT_EQ(chart_of({plain}), "");
}

}  // namespace
}  // namespace ragdot::cli
