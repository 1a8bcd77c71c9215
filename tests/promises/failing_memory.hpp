// Makes allocations of the process fail, and counts those that are alive. Replaces malloc and its kin in the program it is
// linked into.
#pragma once

#include <cstdint>

namespace ragdot::suites {

/// While it lives, allocations fail: the one with number `first`, counted from 0 over all threads, or all from there on.
class FailingMemory {
 public:
  enum class Which { one, all_behind };
  FailingMemory(std::int64_t first, Which which);
  ~FailingMemory();
  FailingMemory(const FailingMemory&) = delete;
  FailingMemory& operator=(const FailingMemory&) = delete;

  /// Whether any has failed.
  [[nodiscard]] static bool has_failed();
};

/// Allocations less releases since the process began.
[[nodiscard]] std::int64_t live_allocations();

}  // namespace ragdot::suites
