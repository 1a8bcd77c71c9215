// Asks for the memory that is packed or read next while products keep the core busy.
// A kernel includes this file inside its target region.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/isa/chains/panels.hpp"
#include "cpu/kernel.hpp"

namespace ragdot::cpu::chains {
namespace {

/// Asks for a line. Inline by force, else g++ takes it for a function without effect.
[[gnu::always_inline]] inline void fetch_line(const std::byte* at, bool into_l2) {
  into_l2 ? _mm_prefetch(at, _MM_HINT_T1) : _mm_prefetch(at, _MM_HINT_T0);
}

/// Asks for the line `ahead` bytes on in memory that is read in order; where the L2 cache comes first (asks_l2_first()), for
/// one that is further, and from there.
[[gnu::always_inline]] inline void fetch_in_order(const std::byte* at, std::int64_t ahead, bool l2_first) {
  constexpr std::int64_t kFar = 16384;
  constexpr std::int64_t kNear = 2048;
  fetch_line(at + (l2_first ? kFar : ahead), l2_first);
  if (l2_first) fetch_line(at + kNear, false);
}

/// Spreads the lines of a job's Ahead evenly over `turns` calls of step(). Without branches that depend on where a run ends:
/// one that is mispredicted costs as much as it gains.
class Fetcher {
 public:
  Fetcher() = default;
  Fetcher(const std::array<Ahead, 2>& ahead, std::int64_t turns, bool into_l2 = false) : next_(ahead[1]), into_l2_(into_l2) {
    if (turns > 0) each_ = (lines_of(ahead[0]) + lines_of(ahead[1]) + turns - 1) / turns;
    begin(ahead[0]);
    if (left_ <= 0) begin(std::exchange(next_, {}));
  }

  [[gnu::always_inline]] void step() {
    if (left_ <= 0) return;
    const std::byte* at = at_;
    std::int64_t line = line_;
    for (std::int64_t i = 0; i < each_; ++i) {
      fetch_line(at, into_l2_);
      ++line;
      const bool run_ends = line == run_lines_;
      at += run_ends ? to_next_run_ : kLineBytes;
      line = run_ends ? 0 : line;
    }
    at_ = at;
    line_ = line;
    left_ -= each_;
    if (left_ > 0) return;
    begin(std::exchange(next_, {}));
  }

 private:
  /// Lines that a short run touches, wherever in a line it begins: its last one would be waited for. That of a long run comes
  /// without being asked for.
  static std::int64_t lines_of_run(const Ahead& ahead) {
    constexpr std::int64_t kLongRun = 512;
    std::int64_t before = 0;  // the run, in its first line
    if (ahead.run_bytes < kLongRun) {
      const bool alike = ahead.stride % kLineBytes == 0;
      before = alike ? static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(ahead.at) % kLineBytes) : kLineBytes - 1;
    }
    return (before + ahead.run_bytes + kLineBytes - 1) / kLineBytes;
  }
  static std::int64_t lines_of(const Ahead& ahead) { return ahead.runs * lines_of_run(ahead); }

  void begin(const Ahead& ahead) {
    at_ = ahead.at;
    line_ = 0;
    run_lines_ = lines_of_run(ahead);
    to_next_run_ = ahead.stride - (run_lines_ - 1) * kLineBytes;
    left_ = lines_of(ahead);
  }

  const std::byte* at_ = nullptr;
  std::int64_t line_ = 0;  // of its run
  std::int64_t run_lines_ = 0;
  std::int64_t to_next_run_ = 0;  // bytes from a run's last line
  std::int64_t left_ = 0;         // lines
  std::int64_t each_ = 0;         // lines of a step
  Ahead next_;
  bool into_l2_ = false;
};

}  // namespace
}  // namespace ragdot::cpu::chains
