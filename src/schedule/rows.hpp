// The rows of one group, after the four forms of group metadata have been read and checked.
#pragma once

#include <cstdint>

namespace ragdot {

/// Rows [begin, end) of one group.
struct RowRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  [[nodiscard]] constexpr std::int64_t size() const { return end - begin; }
};

}  // namespace ragdot
