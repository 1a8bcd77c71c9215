// How fast memory beyond the caches can be read and copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace ragdot::bench {

/// Bytes of the largest cache that this CPU reports, 32 MiB where it reports none.
[[nodiscard]] std::int64_t last_cache_bytes();

/// Memory of twice and a half the largest cache (at most a quarter of the machine's) in large pages where the system has them,
/// walked through in windows: a window is touched again only after all others, so none is found in a cache.
class Bandwidth {
 public:
  Bandwidth();

  [[nodiscard]] std::int64_t bytes() const { return 8 * words_; }
  /// Bytes a second, on that many threads at once, each on a CPU of its own where there are enough. Reading is the faster of
  /// two ways of walking. A copy is memcpy, and counts what it reads and what it writes.
  [[nodiscard]] double read(int threads);
  [[nodiscard]] double copy(int threads);

 private:
  struct Unmap {
    std::int64_t bytes;
    void operator()(std::uint64_t* words) const;
  };
  [[nodiscard]] std::uint64_t* next_window();

  std::int64_t words_ = 0;
  std::int64_t at_ = 0;
  std::unique_ptr<std::uint64_t, Unmap> memory_;
};

}  // namespace ragdot::bench
