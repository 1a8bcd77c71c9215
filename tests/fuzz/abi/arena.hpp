// The memory of one call: everything a view may point to. A call sees only what its views cover, and what it writes is compared
// byte by byte with what it may write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tests/fuzz/input.hpp"

namespace ragdot::fuzz {

/// One for the process. Bytes of a call that no view covers are poisoned for AddressSanitizer while the library runs.
class Arena {
 public:
  static constexpr std::int64_t kBytes = 24576;

  /// Everything free, filled with random bytes of `seed`, or with `plain` where that is not negative.
  void reset(std::uint8_t seed, int plain);
  /// Forgets what a call was allowed, and keeps every byte: for another call on the same memory.
  void close_all();
  /// The next free `bytes`, `offset` behind a multiple of 8; null where none are left.
  std::byte* take(std::int64_t bytes, std::int64_t offset);
  /// A place in the part that is taken, or right behind it.
  std::byte* at(std::int64_t index) { return memory_ + index % (used_ + 1); }
  [[nodiscard]] bool holds(const void* data, __int128 bytes) const;

  /// The call may read, or write, these bytes of the arena.
  void open(const void* data, std::int64_t bytes);
  /// The call may change these bytes; false where it may already.
  bool mark_written(const void* data, std::int64_t bytes);
  [[nodiscard]] bool is_written(const void* data, std::int64_t bytes) const;

  /// Remembers every byte and closes all that is not open.
  void seal();
  /// Opens all again. Whether bytes that may not change did; `refused`: whether any byte did.
  bool unseal_changed(bool refused);

 private:
  [[nodiscard]] std::int64_t index_of(const void* data) const { return static_cast<const std::byte*>(data) - memory_; }

  struct Stretch {
    std::int64_t begin = 0;
    std::int64_t bytes = 0;
  };
  static constexpr std::size_t kMostStretches = 24;

  alignas(64) std::byte memory_[kBytes];
  std::byte before_[kBytes];
  std::uint8_t written_[kBytes];
  std::int64_t used_ = 0;
  Stretch open_[kMostStretches];
  std::size_t opened_ = 0;
};

}  // namespace ragdot::fuzz
