// Two result files of ragdot bench against each other: what became faster, what slower.
#pragma once

#include <string>
#include <vector>

#include "cli/report.hpp"
#include "ragdot/status.hpp"

namespace ragdot::cli {

struct Change {
  std::string name;  // "gmm w0 blockwise ragdot", and the problem
  double old_median = 0;
  double new_median = 0;
  double percent = 0;          // of the old time; above 0: slower
  bool beyond_spread = false;  // the middle halves of the two lists of timings do not overlap
};

struct Changes {
  std::vector<Change> rows;  // the slowest change first
  std::vector<std::string> only_old;
  std::vector<std::string> only_new;
  std::string warning;  // what makes the files hard to compare; empty for nothing
};

/// Refuses what is no result of ragdot bench.
[[nodiscard]] Result<Changes> changes_between(const Json& before, const Json& after);

/// Prints what lies beyond the spread; the exit code is 1 where something became slower by more than `threshold` percent.
[[nodiscard]] int compare_files(const std::string& before, const std::string& after, double threshold);

}  // namespace ragdot::cli
