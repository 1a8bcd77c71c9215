// How large a work item is: the caller's tiling cut to the problem, or one chosen for this machine's caches.
#pragma once

#include <optional>

#include "cpu/kernel.hpp"
#include "plan/problem.hpp"

namespace ragdot::cpu {

/// The tile that the driver uses: whole register blocks, whole chunks, no larger than the problem or kLargestTile.
[[nodiscard]] Tiling effective_tile(const plan::Problem& problem, const Kernel& kernel, const std::optional<Tiling>& asked,
                                    int threads);

}  // namespace ragdot::cpu
