// One comparison: makes the contenders, checks them, times them round by round beside the machine's limits, start after start.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/contenders/contender.hpp"
#include "bench/limits.hpp"
#include "bench/measure.hpp"
#include "bench/row.hpp"

namespace ragdot::bench {

using MakeContender =
    std::function<MadeContender(const Entry& entry, const std::shared_ptr<const testing::Case>& c, const Weights& weights)>;

/// The contender that an entry names.
[[nodiscard]] MadeContender make_contender(const Entry& entry, const std::shared_ptr<const testing::Case>& c,
                                           const Weights& weights);

struct Settings {
  Budget budget;  // of one start
  std::int64_t starts = 5;
  std::function<void()> between_passes = [] {};  // run after one pass over all comparisons, before the next
  MakeContender make = make_contender;
  std::function<void(const std::string& what)> progress = [](const std::string&) {};
};

/// A comparison on its way. It keeps its data from start to start; contenders live for one start, so that packed weights,
/// workspaces and outputs lie elsewhere in memory in the next.
class Trial {
 public:
  Trial(const Comparison& comparison, const Settings& settings);

  /// Bytes of the data that such a trial keeps, without that of its contenders.
  [[nodiscard]] static double data_bytes(const Comparison& comparison);

  /// Makes every contender that was not refused, holds its product against what is right and times it. `meter` samples the
  /// limits of its rows between rounds.
  void start(Meter& meter);

  /// A row for each entry, in order; their limits go into `limits` too.
  [[nodiscard]] std::vector<Row> finish(LimitSamples& limits);

 private:
  /// An entry on its way.
  struct Runner {
    Row row;
    std::vector<Timings> starts;
    std::unique_ptr<Contender> contender;
    std::size_t checked = 0;  // hash of the product that was found right, 0: none yet, or a call adds to the product
    double last_seconds = 0;  // of its call for the check
  };

  /// What limits gave in one start, and the rounds that the samples followed.
  struct Sampling {
    LimitSamples limits;
    std::vector<std::size_t> rounds;
  };

  static void refuse(Runner& runner, Outcome outcome, const std::string& sentence);
  void prepare(Runner& runner);
  static void check(Runner& runner, const testing::Case& c);
  void check_bits();
  void time_all(Meter& meter);
  static void leave_start(Runner& runner);
  [[nodiscard]] Quotient part_of(const std::string& limit, const Runner& runner, double amount) const;
  void progress(const std::string& what) const;
  [[nodiscard]] const std::shared_ptr<const testing::Case>& case_of(const testing::Problem& problem);

  Settings settings_;
  std::map<std::string, std::shared_ptr<const testing::Case>> cases_;
  std::vector<Runner> runners_;
  std::vector<Sampling> samplings_;  // of each start
};

}  // namespace ragdot::bench
