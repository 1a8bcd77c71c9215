// Visits comparisons again and again, so that the starts of each are spread over the whole run.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bench/comparison.hpp"

namespace ragdot::bench {

/// Gets the rows of one comparison; `index` counts in the order of the comparisons.
using Finished = std::function<void(std::size_t index, const std::vector<Row>& rows)>;

/// Shows how far it is: the part of all starts that are done, and what goes on.
using Progress = std::function<void(double part, const std::string& what)>;

/// Every comparison `settings.starts` times, one start of each in turn, `settings.between_passes` between the turns.
/// Comparisons whose data do not fit into `memory_bytes` together form several such turns, one after the other; one alone may
/// be larger.
void run_passes(std::span<const Comparison> comparisons, const Settings& settings, double memory_bytes, Meter& meter,
                LimitSamples& limits, const Progress& progress, const Finished& finished);

/// A quarter of the machine's memory.
[[nodiscard]] double usual_memory_bytes();

}  // namespace ragdot::bench
