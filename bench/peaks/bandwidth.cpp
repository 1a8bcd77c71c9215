// Plain loads and memcpy over windows of a large buffer.
#include "bench/peaks/bandwidth.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "bench/peaks/team.hpp"

namespace ragdot::bench {
namespace {

constexpr std::int64_t kWindowWords = std::int64_t{8} << 20;  // 64 MiB: a few milliseconds

/// Sums eight words at a time, so that compilers vectorise it and no addition waits for the one before.
std::uint64_t sum(const std::uint64_t* words, std::int64_t count) {
  std::array<std::uint64_t, 8> sums{};
  for (std::int64_t i = 0; i + 8 <= count; i += 8) {
    for (std::size_t j = 0; j < sums.size(); ++j) sums[j] += words[i + static_cast<std::int64_t>(j)];
  }
  std::uint64_t all = 0;
  for (const std::uint64_t s : sums) all += s;
  return all;
}

}  // namespace

std::int64_t last_cache_bytes() {
  const std::int64_t bytes = std::max(sysconf(_SC_LEVEL3_CACHE_SIZE), sysconf(_SC_LEVEL2_CACHE_SIZE));
  return bytes > 0 ? bytes : std::int64_t{32} << 20;
}

Bandwidth::Bandwidth() {
  const std::int64_t quarter = sysconf(_SC_PHYS_PAGES) / 4 * sysconf(_SC_PAGESIZE);
  const std::int64_t wanted = std::min(last_cache_bytes() / 2 * 5, quarter);
  words_ = std::max<std::int64_t>(wanted / 8 / kWindowWords, 2) * kWindowWords;
  memory_ = std::make_unique_for_overwrite<std::uint64_t[]>(static_cast<std::size_t>(words_));
  for (std::int64_t i = 0; i < words_; ++i) memory_[static_cast<std::size_t>(i)] = static_cast<std::uint64_t>(i);
}

std::uint64_t* Bandwidth::next_window() {
  std::uint64_t* window = memory_.get() + at_;
  at_ = (at_ + kWindowWords) % words_;
  return window;
}

double Bandwidth::read(int threads) {
  const std::uint64_t* window = next_window();
  const std::int64_t slice = kWindowWords / threads;
  std::atomic<std::uint64_t> sink{0};  // keeps the loads
  const double seconds = seconds_at_once(threads, [&](int i) { sink += sum(window + i * slice, slice); });
  return static_cast<double>(8 * slice * threads) / seconds;
}

double Bandwidth::copy(int threads) {
  const std::uint64_t* from = next_window();
  std::uint64_t* to = next_window();
  const std::int64_t slice = kWindowWords / threads;
  const double seconds = seconds_at_once(
      threads, [&](int i) { std::memcpy(to + i * slice, from + i * slice, static_cast<std::size_t>(8 * slice)); });
  return static_cast<double>(2 * 8 * slice * threads) / seconds;
}

}  // namespace ragdot::bench
