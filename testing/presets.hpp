// Named sets of problems: the words of verify and bench.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "testing/problem.hpp"

namespace ragdot::testing {

/// A problem with the name of its shape and its recipe, as tables call them.
struct Preset {
  Problem problem;
  const char* shape;
  const char* recipe;
};

/// "smoke", "seed", "moe", "mixed", "decode", "skew" or "quantize"; unknown names are refused with the nearest.
[[nodiscard]] Result<std::vector<Preset>> preset(std::string_view name);
[[nodiscard]] std::span<const char* const> preset_names();

/// Tilings that a preset sweeps; empty: the usual ones. seed: all of {128,256,512} x {128,512,1024} x {128,512}.
[[nodiscard]] std::vector<Tiling> preset_tilings(std::string_view name);

}  // namespace ragdot::testing
