// From the entries of a preset or a problem to what the user chose: recipes, kernels, threads, tilings, contenders.
#pragma once

#include <string>
#include <vector>

#include "bench/presets.hpp"

namespace ragdot::bench {

/// Leaves out what was not chosen, and repeats the library's entries for every kernel, thread count and tiling. `sweep` holds
/// the tilings to sweep; empty: {64,128,512} in all three. Refuses unknown recipes, and choices that leave nothing.
[[nodiscard]] Result<Agenda> with_choices(const Agenda& agenda, const Choices& choices, const std::vector<Tiling>& sweep);

/// A problem, bf16 on the same shape, and oneDNN on that; only the first where the problem itself is bf16.
[[nodiscard]] Comparison beside_bf16(const testing::Problem& problem, const std::string& shape, const std::string& recipe);

/// The problem with the operands of a recipe.
[[nodiscard]] testing::Problem with_recipe(const testing::Problem& problem, const std::string& recipe);

}  // namespace ragdot::bench
