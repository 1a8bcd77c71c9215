// How rows are dealt to groups.
#pragma once

#include <cstdint>
#include <vector>

#include "testing/problem.hpp"

namespace ragdot::testing {

/// Group sizes of a problem, their sum at most m.
[[nodiscard]] std::vector<std::int64_t> group_sizes(const Problem& problem);

}  // namespace ragdot::testing
