// Allocations that fail: the n-th of a call, and any that is absurdly large.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ragdot::fuzz {

/// While it lives, `operator new` throws std::bad_alloc at allocation number `failing` (negative: none) and for more than
/// kMostBytes.
class FailingAllocations {
 public:
  static constexpr std::size_t kMostBytes = std::size_t{16} << 20;

  explicit FailingAllocations(std::int64_t failing);
  FailingAllocations(const FailingAllocations&) = delete;
  FailingAllocations& operator=(const FailingAllocations&) = delete;
  ~FailingAllocations();
};

}  // namespace ragdot::fuzz
