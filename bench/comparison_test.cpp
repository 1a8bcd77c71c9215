// Comparisons as the command runs them, with contenders that compute something else.
#include "bench/comparison.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/passes.hpp"
#include "bench/planted.hpp"

namespace ragdot::bench {
namespace {

using ::testing::HasSubstr;

Entry entry(const std::string& text, const std::string& contender = kRagdot) {
  return {testing::parse_problem(text).value(), "small", "bf16", contender, Stage::product};
}

/// One for all tests: it fills a buffer larger than the caches.
Meter& meter() {
  static Meter one;
  return one;
}

class ComparisonTest : public ::testing::Test {
 protected:
  std::vector<Row> run(const std::vector<Entry>& entries, const MakeContender& make) {
    return run({"test", entries, Comparison::Caches::warm}, make);
  }
  std::vector<Row> run(const Comparison& comparison, const MakeContender& make) {
    Settings settings;
    settings.budget = {.seconds = 0, .slow_rounds = 2};
    settings.starts = 2;
    settings.make = make;
    Trial trial(comparison, settings);
    for (std::int64_t i = 0; i < settings.starts; ++i) trial.start(meter());
    return trial.finish(limits_);
  }
  /// A maker that spoils a region of the product of the contender `whose`.
  static MakeContender spoiling(const std::string& whose, WrongRegion::Region region) {
    return [whose, region](const Entry& e, const std::shared_ptr<const testing::Case>& c,
                           const Weights& weights) -> MadeContender {
      auto made = make_ragdot(e.problem, c, weights);
      if (e.contender != whose || !made.ok()) return made;
      return std::unique_ptr<Contender>(std::make_unique<WrongRegion>(std::move(made.value()), region));
    };
  }

  LimitSamples limits_;
};

constexpr const char* kGmm = "gmm g=3 m=100 k=64 n=48 lhs=bf16 rhs=bf16";

TEST_F(ComparisonTest, TimesAndRatesEveryContender) {
  const auto rows = run({entry(kGmm), entry(kGmm, "other"), entry("tgmm g=3 m=100 k=64 n=48 lhs=e4m3:128x1 rhs=e4m3:128x1")},
                        spoiling("nobody", {}));
  ASSERT_EQ(rows.size(), 3U);
  for (const Row& row : rows) {
    EXPECT_EQ(row.outcome, Outcome::timed) << row.refusal;
    EXPECT_EQ(row.time.runs, 4) << "two rounds in each of two starts";
    EXPECT_DOUBLE_EQ(row.operations, 2.0 * 100 * 64 * 48);
    EXPECT_GT(row.of_peak.value, 0) << row.kernel << " " << row.peak;
    EXPECT_GT(row.of_read_bandwidth.value, 0);
  }
  EXPECT_DOUBLE_EQ(rows[0].bytes, 2 * (100 * 64 + 3 * 64 * 48 + 100 * 48));
  EXPECT_DOUBLE_EQ(rows[2].bytes, 100 * 64 + 4 * 64 + 100 * 48 + 4 * 48 + 4 * 3 * 64 * 48) << "one scale row each";
  EXPECT_GT(limits_.median(kRead, rows[0].threads), 0);
}

TEST_F(ComparisonTest, RefusesAnotherContenderWithOneWrongElement) {
  const auto rows = run({entry(kGmm), entry(kGmm, "other")}, spoiling("other", {.begin = 777, .end = 778}));
  EXPECT_EQ(rows[0].outcome, Outcome::timed);
  EXPECT_EQ(rows[1].outcome, Outcome::wrong);
  EXPECT_THAT(rows[1].refusal, HasSubstr("1 of 4800 outputs are outside the bound; first (matrix 0, row 16, col 9)"));
  EXPECT_EQ(rows[1].time.runs, 0) << "it must not be timed";
}

TEST_F(ComparisonTest, RefusesTheLibraryWithAWrongRegion) {
  const auto rows = run({entry(kGmm)}, spoiling(kRagdot, {.begin = 48, .end = 64}));
  EXPECT_EQ(rows[0].outcome, Outcome::wrong);
  EXPECT_THAT(rows[0].refusal, HasSubstr("16 of 4800 outputs looked at are outside the error bound"));
  EXPECT_EQ(rows[0].time.runs, 0);
}

TEST_F(ComparisonTest, RefusesAProductThatChangesWhileItIsTimed) {
  const auto rows = run({entry(kGmm)}, spoiling(kRagdot, {.begin = 0, .end = 1, .first_bad = 3}));
  EXPECT_EQ(rows[0].outcome, Outcome::wrong);
  EXPECT_THAT(rows[0].refusal, HasSubstr("changed while it was timed"));
  EXPECT_EQ(rows[0].time.runs, 0);
}

TEST_F(ComparisonTest, HoldsKernelsAndTilingsAgainstEachOtherBitByBit) {
  // Within the oracle's bound: the lowest bit of an f32, seen only beside another run of the same data.
  const std::string text = "gmm g=3 m=100 k=64 n=48 lhs=bf16 rhs=bf16 out=f32";
  const auto make = [](const Entry& e, const std::shared_ptr<const testing::Case>& c, const Weights& w) -> MadeContender {
    auto made = make_ragdot(e.problem, c, w);
    if (e.problem.threads != 1) return made;
    return std::unique_ptr<Contender>(std::make_unique<WrongRegion>(std::move(made.value()), WrongRegion::Region{5, 6, 1, 1}));
  };
  const auto rows = run({entry(text), entry(text + " tile=32x32x32"), entry(text + " threads=1")}, make);
  EXPECT_EQ(rows[0].outcome, Outcome::timed) << rows[0].refusal;
  EXPECT_EQ(rows[1].outcome, Outcome::timed) << rows[1].refusal;
  EXPECT_EQ(rows[2].outcome, Outcome::wrong);
}

TEST_F(ComparisonTest, SaysWhatIsNotPossible) {
  Entry unknown = entry(kGmm);
  unknown.problem.kernel = "none";
  const auto rows = run({unknown, entry("gmm g=1 m=1 k=1 n=1 lhs=f32 rhs=bf16")}, make_contender);
  EXPECT_EQ(rows[0].outcome, Outcome::impossible);
  EXPECT_THAT(rows[0].refusal, HasSubstr("\"none\", which the call asks for, is unknown"));
  EXPECT_EQ(rows[1].outcome, Outcome::impossible);
}

TEST_F(ComparisonTest, OneDnnComputesTheSameProductOrSaysWhyNot) {
  std::vector<Entry> entries;
  for (const char* op : {"gmm", "dlhs", "tgmm"}) {
    for (const char* rest : {"", " order=nk", " first=1 local=2", " dist=sizes:0,40,30"}) {
      if (std::string(op) == "tgmm" && std::string(rest) == " order=nk") continue;
      entries.push_back(entry(std::string(op) + " g=3 m=100 k=64 n=48 lhs=bf16 rhs=bf16" + rest, kOneDnn));
    }
  }
  for (const Row& row : run(entries, make_contender)) {
    const Outcome expected = onednn_version().empty() ? Outcome::impossible : Outcome::timed;
    EXPECT_EQ(row.outcome, expected) << to_string(row.entry.problem) << ": " << row.refusal;
  }
  const auto rows =
      run({entry(std::string(kGmm) + " act=relu", kOneDnn), entry("gmm g=1 m=8 k=8 n=8 lhs=e4m3 rhs=bf16", kOneDnn)},
          make_contender);
  for (const Row& row : rows) EXPECT_EQ(row.outcome, Outcome::impossible);
}

TEST_F(ComparisonTest, QuantisersAreCheckedAndTimed) {
  std::vector<Entry> entries;
  for (const Stage stage : {Stage::quantize, Stage::quantize_both, Stage::dequantize}) {
    for (const char* block : {"1x128", "128x128"}) {
      entries.push_back(entry("gmm g=1 m=150 k=300 n=1 rhs=bf16 lhs=e4m3:" + std::string(block)));
      entries.back().stage = stage;
    }
  }
  for (const Row& row : run(entries, make_contender)) {
    EXPECT_EQ(row.outcome, Outcome::timed) << row.op << ": " << row.refusal;
    EXPECT_GT(row.of_copy_bandwidth.value, 0);
  }
  const auto spoil = [](const Entry& e, const std::shared_ptr<const testing::Case>& c, const Weights& w) -> MadeContender {
    auto made = make_contender(e, c, w);
    return std::unique_ptr<Contender>(
        std::make_unique<WrongRegion>(std::move(made.value()), WrongRegion::Region{0, 150, 2, 1}));
  };
  for (const Row& row : run(entries, spoil)) EXPECT_EQ(row.outcome, Outcome::wrong) << row.op;
}

TEST_F(ComparisonTest, WeightsOfColdComparisonsRotate) {
  std::int64_t copies = 0;
  const auto ask = [&](const Entry&, const std::shared_ptr<const testing::Case>&, const Weights& w) -> MadeContender {
    copies = w.copies;
    return Status(Code::unsupported, "only asked");
  };
  const auto rows = run(Comparison{"test", {entry(kGmm)}, Comparison::Caches::cold}, ask);
  EXPECT_GE(static_cast<double>(copies) * 2 * 3 * 64 * 48, 2.5 * static_cast<double>(last_cache_bytes()));
  EXPECT_EQ(rows[0].weight_copies, copies);
}

TEST_F(ComparisonTest, EveryStartMakesItsContendersAnew) {
  int made = 0;
  const auto count = [&](const Entry& e, const std::shared_ptr<const testing::Case>& c, const Weights& w) {
    ++made;
    return make_ragdot(e.problem, c, w);
  };
  const auto rows = run({entry(kGmm)}, count);
  EXPECT_EQ(made, 2);
  EXPECT_EQ(rows[0].time.starts.size(), 2U);
  EXPECT_EQ(rows[0].time.runs, 4);
}

TEST_F(ComparisonTest, RefusesAProductThatDiffersInALaterStart) {
  for (const char* contender : {kRagdot, "other"}) {
    int made = 0;
    const auto second = [&](const Entry& e, const std::shared_ptr<const testing::Case>& c, const Weights& w) -> MadeContender {
      auto inner = make_ragdot(e.problem, c, w);
      if (++made == 1) return inner;
      return std::unique_ptr<Contender>(std::make_unique<WrongRegion>(std::move(inner.value()), WrongRegion::Region{5, 6}));
    };
    const auto rows = run({entry(kGmm, contender)}, second);
    EXPECT_EQ(rows[0].outcome, Outcome::wrong) << contender;
    EXPECT_EQ(rows[0].time.runs, 0) << "what the first start timed counts no more";
  }
}

/// The order in which comparisons of one, one and two parts of data are made, with memory for some of them.
std::string order_of_starts(double memory_bytes) {
  std::vector<Comparison> comparisons;
  for (const char* shape : {"a", "b", "c"}) {
    const int rows = *shape == 'c' ? 2 : 1;
    Entry e = entry(fmt::format("gmm g=1 m={} k=1 n=1 lhs=bf16 rhs=bf16", 1000 * rows));
    e.shape = shape;
    comparisons.push_back({shape, {e}, Comparison::Caches::warm});
  }
  std::string order;
  Settings settings;
  settings.starts = 2;
  settings.budget.seconds = 0;
  settings.between_passes = [&] { order += '|'; };
  settings.make = [&](const Entry& e, const std::shared_ptr<const testing::Case>& c, const Weights& w) {
    order += e.shape;
    return make_ragdot(e.problem, c, w);
  };
  LimitSamples limits;
  double part = 0;
  run_passes(
      comparisons, settings, memory_bytes, meter(), limits,
      [&](double now, const std::string&) {
        EXPECT_GE(now, part);
        part = now;
      },
      [&](std::size_t index, const std::vector<Row>& rows) {
        order += fmt::format("{}{} ", index, rows[0].time.starts.size());
      });
  EXPECT_NEAR(part, 5.0 / 6, 1e-9) << "the last start was on its way";
  return order;
}

TEST(Passes, StartsOfAComparisonAreSpreadOverTheRunAsFarAsMemoryAllows) {
  const double one = Trial::data_bytes({"", {entry("gmm g=1 m=1000 k=1 n=1 lhs=bf16 rhs=bf16")}});
  EXPECT_EQ(one, 1000 * (4 + 2) + 4) << "lhs and rhs with their originals, and out";
  EXPECT_EQ(order_of_starts(1e9), "abc|abc02 12 22 ");
  EXPECT_EQ(order_of_starts(2 * one), "ab|ab02 12 c|c22 ");
  EXPECT_EQ(order_of_starts(0), "a|a02 b|b12 c|c22 ");
}

}  // namespace
}  // namespace ragdot::bench
