// How large a work item is: the caller's tiling cut to the problem, or one chosen for this machine's caches.
#pragma once

#include <optional>

#include "cpu/kernel.hpp"
#include "plan/problem.hpp"

namespace ragdot::cpu {

/// Tiles of no more rows are bound by reading weights.
inline constexpr std::int64_t kFewRows = 64;

/// The L2 cache of a core of this machine.
[[nodiscard]] std::int64_t l2_bytes();

/// The tile that the driver uses: whole register blocks, whole chunks, no larger than the problem or the bounds of the
/// workspace.
[[nodiscard]] Tiling effective_tile(const plan::Problem& problem, const Kernel& kernel, const std::optional<Tiling>& asked,
                                    int threads, std::int64_t l2 = l2_bytes());

/// Items that the busiest thread has at least, where tiles can be so small.
inline constexpr std::int64_t kItemsPerThread = 4;

/// Halves the wider side of a tile in whole register blocks, columns in pairs of them; false where it is as small as tiles are
/// cut.
bool halve(Tiling& tile, const Kernel& kernel);

/// Columns of rhs that are packed at once, in whole inner blocks of the kernel: up to 256 or what half of the L2 cache holds;
/// in tiles of few rows as many as a quarter of it does. Memory likes long rows.
[[nodiscard]] std::int64_t strip_cols(const Kernel& kernel, const Tiling& tile, std::int64_t l2 = l2_bytes());

}  // namespace ragdot::cpu
