// Bars for the terminal: how each contender stands to bf16, and how near it comes to the machine's limit.
#pragma once

#include <string>
#include <vector>

#include "bench/row.hpp"

namespace ragdot::cli {

/// A line for each timed row of one comparison: speed over that of the library's bf16 (of the first row, where there is none),
/// and the larger of its parts of the peak and of the read bandwidth. Empty where fewer than two rows were timed.
[[nodiscard]] std::string chart_of(const std::vector<bench::Row>& rows);

}  // namespace ragdot::cli
