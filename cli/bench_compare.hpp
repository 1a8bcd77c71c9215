// Two result files of ragdot bench against each other: what became faster, what slower.
#pragma once

#include <string>
#include <vector>

#include "cli/report.hpp"
#include "ragdot/status.hpp"

namespace ragdot::cli {

/// A time or a ratio in both files.
struct Change {
  std::string name;  // "gmm w0 blockwise ragdot", and the problem; or the ratio's name
  double before = 0;
  double after = 0;
  double percent = 0;          // of what it was; above 0: the time or the ratio grew
  bool beyond_spread = false;  // what the starts of one file say does not meet what those of the other say
  bool regression = false;     // of times: slower by more than the threshold, and not because the machine is (docs/bench.md)
};

struct Changes {
  std::vector<Change> times;   // the slowest change first
  std::vector<Change> ratios;  // the greatest change first
  std::vector<std::string> only_old;
  std::vector<std::string> only_new;
  std::string warning;  // what makes the files hard to compare; empty for nothing
};

/// What refusals call the two files.
struct Names {
  std::string before = "the old file";
  std::string after = "the new file";
};

/// `threshold` in percent. Refuses what is no result of ragdot bench.
[[nodiscard]] Result<Changes> changes_between(const Json& before, const Json& after, double threshold, const Names& names = {});

/// Prints what lies beyond the spread; the exit code is 1 where there is a regression.
[[nodiscard]] int compare_files(const std::string& before, const std::string& after, double threshold);

}  // namespace ragdot::cli
