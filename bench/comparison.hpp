// Runs one comparison: makes the contenders, checks them, times them round by round beside the machine's limits.
#pragma once

#include <functional>
#include <memory>
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
  Budget budget;
  MakeContender make = make_contender;
  std::function<void(const std::string& what)> progress = [](const std::string&) {};
};

/// A row for each entry, in order. `meter` samples the limits of these rows between rounds; the samples go into `limits` too.
[[nodiscard]] std::vector<Row> run_comparison(const Comparison& comparison, const Settings& settings, Meter& meter,
                                              LimitSamples& limits);

}  // namespace ragdot::bench
