// What this library computes for a case file.
#pragma once

#include <string>
#include <vector>

#include "cli/case_file.hpp"

namespace ragdot::cli {

struct Answer {
  testing::Bytes out;
  std::string kernel;
  Tiling tile;
  std::vector<double> seconds;  // of each run
};

/// `repeat` runs of the case's call by the kernel, tiling and threads that its problem names.
[[nodiscard]] Status compute(const CaseFile& c, int repeat, Answer& answer);

}  // namespace ragdot::cli
