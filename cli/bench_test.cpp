// ragdot bench as a user runs it, and the comparison of its results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "bench/passes.hpp"
#include "bench/planted.hpp"
#include "cli/bench_chart.hpp"
#include "cli/bench_compare.hpp"
#include "cli/bench_report.hpp"
#include "cli/test_files.hpp"

namespace ragdot::cli {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
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
  for (const char* key : {"problem",           "op",    "shape", "recipe", "contender", "kernel",   "threads",
                          "median_s",          "min_s", "max_s", "runs",   "tflops",    "gbs",      "of_peak",
                          "of_read_bandwidth", "q1_s",  "q3_s",  "low_s",  "high_s",    "starts_s", "comparison"}) {
    EXPECT_TRUE(json["rows"][0].contains(key)) << key;
  }
  EXPECT_EQ(json["rows"][0]["problem"], "gmm g=2 m=40 k=64 n=32 lhs=e4m3:1x32 rhs=e4m3:32x32");
  EXPECT_EQ(json["rows"][0]["starts_s"].size(), 5U);
  const double ratio = json["ratios"]["gmm.problem.custom/bf16"];
  EXPECT_GT(ratio, 0);
  EXPECT_LE(json["ratio_spreads"]["gmm.problem.custom/bf16"][0], ratio);
  EXPECT_GE(json["ratio_spreads"]["gmm.problem.custom/bf16"][1], ratio);
  EXPECT_EQ(json["preset"], "");
  EXPECT_EQ(json["kernels"].size(), 0U);
}

TEST_F(BenchVerb, ExitCodes) {
  EXPECT_EQ(command({"bench"}), kUsage);
  EXPECT_EQ(command({"bench", "--preset", "sed"}), kUsage);
  EXPECT_EQ(command({"bench", "--preset", "seed", "--recipes", "mxx"}), kUsage);
  EXPECT_EQ(command({"bench", "gmm", "g=2"}), kUsage);
  EXPECT_EQ(command(with(kProblem, {"--onednn", "maybe"})), kUsage);
  EXPECT_EQ(command(with(kProblem, {"--pause", "-1"})), kUsage);
  EXPECT_EQ(command(with(kProblem, {"--onednn", "off", "--kernel", "none"})), kUsage);
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

TEST_F(BenchVerb, WhatTheWordsNameIsTimedOrItEndsWithThree) {
  const std::vector<std::string> small = {"bench", "gmm", "g=2", "m=4", "k=8", "n=4", "--seconds", "0.01", "--starts", "2"};
  EXPECT_EQ(command(with(small, {"lhs=i8", "rhs=bf16"})), kNotPossible) << "bf16 beside it was timed";
  EXPECT_EQ(command(with(small, {"lhs=e4m3:1x32", "scale=e8m0"})), kNotPossible) << "absmax has no such scales";
  EXPECT_EQ(command(with(small, {"lhs=i8", "rhs=bf16", "--recipes", "bf16"})), kOk) << "another recipe was asked for";
  bench::Row row;
  row.entry.recipe = "bf16";
  EXPECT_EQ(exit_code_of({row}, {"bf16"}), kOk);
  EXPECT_EQ(exit_code_of({row}, {"bf16", "mx"}), kNotPossible);
  bench::Row other = row;
  other.entry.recipe = "mx";
  other.outcome = bench::Outcome::impossible;
  EXPECT_EQ(exit_code_of({row, other}, {"mx"}), kNotPossible);
  bench::Row possible = other;
  possible.outcome = bench::Outcome::timed;
  EXPECT_EQ(exit_code_of({row, other, possible}, {"mx"}), kOk) << "on one kernel of several";
}

/// The seconds of a contender in each of its starts, by recipe; "onednn_bf16" is that contender.
using Starts = std::map<std::string, std::vector<double>>;

/// A result with one comparison for each.
Json result(const std::vector<Starts>& comparisons) {
  BenchReport report;
  for (std::size_t i = 0; i < comparisons.size(); ++i) {
    std::vector<bench::Row> rows;
    for (const auto& [recipe, starts] : comparisons[i]) {
      bench::Row& row = rows.emplace_back();
      row.op = "gmm";
      row.entry.shape = fmt::format("shape{}", i);
      row.entry.recipe = recipe == bench::kOneDnn ? "bf16" : recipe;
      if (recipe == bench::kOneDnn) row.entry.contender = recipe;
      row.threads = 2;
      std::vector<bench::Timings> timings;
      for (const double seconds : starts) timings.push_back({seconds, seconds, seconds});
      row.time = bench::summarise(timings);
    }
    report.comparisons.push_back({fmt::format("gmm shape{}", i), rows, bench::ratios_of(rows)});
  }
  return json_of(report);
}

const std::vector<double> kSteady = {1.00, 1.01, 0.99, 1.02, 1.00};
const std::vector<double> kWild = {1.00, 1.30, 0.80, 1.02, 0.75};

std::vector<double> times(std::vector<double> seconds, double factor) {
  for (double& s : seconds) s *= factor;
  return seconds;
}

Changes changes(const std::vector<Starts>& before, const std::vector<Starts>& after) {
  auto found = changes_between(result(before), result(after), 5);
  EXPECT_TRUE(found.ok()) << found.status().message();
  return found.ok() ? found.value() : Changes{};
}

/// What is a regression, in the words "shape recipe contender".
std::vector<std::string> regressions(const std::vector<Starts>& before, const std::vector<Starts>& after) {
  std::vector<std::string> names;
  for (const Change& c : changes(before, after).times) {
    if (c.regression) names.push_back(c.name.substr(4, c.name.find(':') - 4));
  }
  return names;
}

TEST_F(BenchCompare, FindsAPlantedSlowdownOfTenPercent) {
  store("old.json", result({{{"blockwise", kSteady}}, {{"blockwise", kSteady}}}).dump());
  store("new.json", result({{{"blockwise", kSteady}}, {{"blockwise", times(kSteady, 1.1)}}}).dump());
  EXPECT_EQ(command({"bench", "--compare", path("old.json"), path("new.json")}), kCheckFailed);
  EXPECT_EQ(command({"bench", "--compare", path("old.json"), path("new.json"), "--threshold", "15"}), kOk);
  EXPECT_EQ(command({"bench", "--compare", path("new.json"), path("old.json")}), kOk) << "faster is no regression";
  const Changes found = changes({{{"blockwise", kSteady}}, {{"blockwise", kSteady}}},
                                {{{"blockwise", kSteady}}, {{"blockwise", times(kSteady, 1.1)}}});
  EXPECT_THAT(found.times.front().name, HasSubstr("gmm shape1 blockwise ragdot"));
  EXPECT_NEAR(found.times.front().percent, 10, 1e-6);
  EXPECT_TRUE(found.times.front().beyond_spread);
  EXPECT_FALSE(found.times.back().beyond_spread);
}

TEST_F(BenchCompare, WhatLiesWithinTheSpreadIsNoChange) {
  EXPECT_THAT(regressions({{{"blockwise", kWild}}}, {{{"blockwise", times(kWild, 1.1)}}}), IsEmpty());
}

TEST_F(BenchCompare, ASlowerMachineIsNoRegressionAndHidesNone) {
  const Starts before = {{"bf16", kWild}, {"blockwise", times(kWild, 0.9)}, {"channelwise", kWild}, {"onednn_bf16", kWild}};
  Starts after;
  for (const auto& [recipe, seconds] : before) after[recipe] = times(seconds, 2);
  EXPECT_THAT(regressions({before}, {after}), IsEmpty()) << "all contenders alike";
  EXPECT_THAT(changes({before}, {after}).ratios, Each(Field(&Change::beyond_spread, false)));
  after["blockwise"] = times(after["blockwise"], 1.1);
  EXPECT_THAT(regressions({before}, {after}), ElementsAre("shape0 blockwise ragdot")) << "its time alone would hide it";
  EXPECT_THAT(changes({before}, {after}).ratios, Contains(Field(&Change::beyond_spread, true)).Times(3));
}

TEST_F(BenchCompare, AFasterNeighbourIsNoRegression) {
  const Starts before = {{"bf16", kSteady}, {"blockwise", kSteady}, {"onednn_bf16", kSteady}};
  Starts after = before;
  after["bf16"] = times(kSteady, 0.8);
  EXPECT_THAT(regressions({before}, {after}), IsEmpty());
  after = before;
  after["onednn_bf16"] = times(kSteady, 1.5);
  EXPECT_THAT(regressions({before}, {after}), IsEmpty()) << "other contenders are not the library";
}

TEST_F(BenchCompare, TheWholeLibraryIsHeldAgainstForeignCode) {
  const Starts before = {{"bf16", kSteady}, {"blockwise", kSteady}, {"onednn_bf16", kSteady}};
  const Starts after = {{"bf16", times(kSteady, 1.1)}, {"blockwise", times(kSteady, 1.1)}, {"onednn_bf16", kSteady}};
  EXPECT_THAT(regressions({before}, {after}), ElementsAre("shape0 bf16 ragdot", "shape0 blockwise ragdot"));
}

TEST_F(BenchCompare, NamesRowsThatStandAloneAndOtherCpus) {
  Json other = result({{{"bf16", kSteady}}});
  other["machine"]["cpu"] = "another";
  const auto found = changes_between(result({{{"bf16", kSteady}}, {{"bf16", kSteady}}}), other, 5);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found.value().only_old.size(), 1U);
  EXPECT_THAT(found.value().only_old.front(), HasSubstr("shape1"));
  EXPECT_THAT(found.value().warning, HasSubstr("different CPUs"));
}

TEST_F(BenchCompare, ARowTimedBesideThePeersIsAnotherRow) {
  Json before = result({{{"blockwise", kSteady}}});
  before["rows"].push_back(before["rows"][0]);
  before["rows"][1]["run"] = "peers";
  Json after = before;
  for (const char* key : {"median_s", "low_s", "high_s"}) after["rows"][1][key] = 2 * before["rows"][1][key].get<double>();
  const auto found = changes_between(before, after, 5);
  ASSERT_TRUE(found.ok()) << found.status().message();
  ASSERT_EQ(found.value().times.size(), 2U);
  EXPECT_THAT(found.value().times[0].name, HasSubstr("run peers"));
  EXPECT_NEAR(found.value().times[0].percent, 100, 1e-6);
  EXPECT_NEAR(found.value().times[1].percent, 0, 1e-6);
}

TEST_F(BenchCompare, RefusesWhatIsNoResult) {
  store("ok.json", result({{{"bf16", kSteady}}}).dump());
  Json broken = result({{{"bf16", kSteady}}});
  broken["ratio_spreads"]["gmm.shape0.bf16/read_bandwidth"] = "wide";
  store("ratio.json", broken.dump());
  store("empty.json", result({}).dump());
  store("broken.json", "{");
  store("other.json", "{\"command\":\"verify\"}");
  store("row.json", "{\"command\":\"bench\",\"rows\":[{\"op\":\"gmm\"}]}");
  for (const char* name : {"absent.json", "broken.json", "other.json", "row.json", "empty.json"})
    EXPECT_EQ(command({"bench", "--compare", path("ok.json"), path(name)}), kUsage) << name;
  const auto says = [&](const std::string& before, const std::string& after, const std::string& sentence) {
    EXPECT_EQ(command_says({"bench", "--compare", path(before), path(after)}, sentence), kUsage);
  };
  says("ok.json", "other.json", "bench: " + path("other.json") + " is no result of ragdot bench; compare files");
  says("other.json", "ok.json", "bench: " + path("other.json") + " is no result");
  says("ok.json", "row.json", "bench: " + path("row.json") + ": a row cannot be read");
  says("ok.json", "", "bench: " + path("") + " is a folder; name a result file");
  EXPECT_EQ(command({"bench", "--compare", path("ratio.json"), path("ratio.json")}), kUsage);
  EXPECT_EQ(command({"bench", "--compare", path("ok.json")}), kUsage);
  EXPECT_EQ(command_says({"bench", "--compare", path("ok.json"), path("ok.json"), "--json", path("j")},
                         "bench: --json is for what a run"),
            kUsage);
}

/// Two runs of the library beside its bf16, the second with a tenth of each blockwise call's time lost, timed for real.
/// Neighbours on a shared machine can hide it for a while, so it has five attempts.
TEST_F(BenchCompare, FindsARealSlowdownOfTenPercent) {
#ifdef RAGDOT_SANITIZED
  GTEST_SKIP() << "sanitizers take most of the time that would be compared";
#endif
  const auto of = [](const std::string& operands) {
    return testing::parse_problem("gmm g=2 m=128 k=256 n=256 threads=1 " + operands).value();
  };
  const bench::Comparison both{
      "test", {{of("lhs=e4m3:1x128 rhs=e4m3:128x128"), "small", "blockwise"}, {of("lhs=bf16 rhs=bf16"), "small", "bf16"}}};
  bench::Settings plain;
  plain.budget = {.seconds = 0.2, .least_rounds = 31};
  bench::Settings slowed = plain;
  slowed.make = [](const bench::Entry& e, const std::shared_ptr<const testing::Case>& c,
                   const bench::Weights& w) -> bench::MadeContender {
    auto made = bench::make_contender(e, c, w);
    if (e.recipe == "bf16" || !made.ok()) return made;
    return std::unique_ptr<bench::Contender>(std::make_unique<bench::TenthSlower>(std::move(made.value())));
  };
  bench::Meter meter;
  std::string seen;
  const auto timed = [&](const bench::Settings& settings) {
    BenchReport report;
    bench::run_passes(
        std::vector{both}, settings, 0, meter, report.limits, [](double, const std::string&) {},
        [&](std::size_t, const std::vector<bench::Row>& rows) {
          report.comparisons = {{"test", rows, bench::ratios_of(rows)}};
        });
    return json_of(report);
  };
  for (int attempt = 0; attempt < 5; ++attempt) {
    const auto found = changes_between(timed(plain), timed(slowed), 5);
    ASSERT_TRUE(found.ok()) << found.status().message();
    const Change& change = found.value().times.front();
    if (change.regression && change.percent < 30 && change.name.find("blockwise") != std::string::npos) return;
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
  plain.time = bench::summarise(std::vector<bench::Timings>{{4}});
  plain.of_peak.value = 0.25;
  bench::Row fast = plain;
  fast.entry.recipe = "blockwise";
  fast.time = bench::summarise(std::vector<bench::Timings>{{2}});
  fast.of_peak.value = 0.5;
  const std::string chart = chart_of({plain, fast});
  EXPECT_THAT(
      chart,
      HasSubstr("w0 bf16 amx x2                               ████████████              1.00  ██████                     25%"));
  EXPECT_THAT(chart, HasSubstr("████████████████████████  2.00  ████████████               50%"));
  EXPECT_EQ(chart_of({plain}), "");
}

}  // namespace
}  // namespace ragdot::cli
