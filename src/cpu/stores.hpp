// Whether what is written goes through the caches.
#pragma once

#include <cstdint>

namespace ragdot::cpu {

/// Streamed stores write whole cache lines past the caches: memory is not read first, and what was written is not kept near.
enum class Stores { cached, streamed };

/// For an output of so many bytes: one that caches can hold is better kept there.
[[nodiscard]] constexpr Stores stores_for(std::int64_t bytes) {
  constexpr std::int64_t kCachedBytes = 4 << 20;
  return bytes > kCachedBytes ? Stores::streamed : Stores::cached;
}

}  // namespace ragdot::cpu
