// Named sets of comparisons, and how a user's choices change them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "bench/row.hpp"

namespace ragdot::bench {

enum class Tilings { automatic, swept };
enum class Rivals { with, without };

struct Choices {
  std::vector<std::string> recipes = {};  // empty: those of the preset
  std::vector<std::string> kernels = {};  // empty: the automatic one
  std::vector<int> threads = {};          // empty: all
  Rivals rivals = Rivals::with;           // contenders besides the library
  Tilings tilings = Tilings::automatic;
};

struct Agenda {
  std::vector<Comparison> comparisons;
  double seconds = 5;  // for all starts of each together, unless the user says otherwise
  std::int64_t starts = 5;
};

/// The comparisons of a preset (the names are those of testing/presets.hpp).
[[nodiscard]] Result<Agenda> preset(std::string_view name, const Choices& choices);

/// One problem beside bf16 and the other contenders on the same shape; with chosen recipes these instead of the problem's own.
[[nodiscard]] Result<Agenda> agenda_of(const testing::Problem& problem, const Choices& choices);

/// "blockwise" for the operands that this name stands for, "custom" for all others.
[[nodiscard]] std::string recipe_of(const testing::Problem& problem);

}  // namespace ragdot::bench
