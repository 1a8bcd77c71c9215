// Loads and memcpy over windows of a large buffer in large pages.
#include "bench/peaks/bandwidth.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <new>

#include "bench/peaks/team.hpp"

namespace ragdot::bench {
namespace {

constexpr std::int64_t kWindowWords = std::int64_t{8} << 20;  // 64 MiB: a few milliseconds

constexpr std::int64_t kLineWords = 8;

/// How a thread walks through its part of a window: in several places at once, and how far ahead it asks for lines.
struct Walk {
  std::int64_t streams;
  std::int64_t ahead_words;
};
/// One of them came within a tenth of the best of twenty on every machine and page size looked at; a plain loop reaches as
/// little as half of it, since the CPU's own prefetcher stops at the end of a page.
constexpr std::array<Walk, 2> kWalks = {{{1, 256}, {4, 128}}};

/// Sums eight words at a time, so that compilers vectorise it and no addition waits for the one before.
std::uint64_t sum(const std::uint64_t* words, std::int64_t count, const Walk& walk) {
  std::array<std::uint64_t, kLineWords> sums{};
  const std::int64_t each = count / walk.streams / kLineWords * kLineWords;
  for (std::int64_t i = 0; i < each; i += kLineWords) {
    for (std::int64_t stream = 0; stream < walk.streams; ++stream) {
      const std::uint64_t* line = words + stream * each + i;
      __builtin_prefetch(line + walk.ahead_words);
      for (std::size_t j = 0; j < sums.size(); ++j) sums[j] += line[j];
    }
  }
  std::uint64_t all = 0;
  for (const std::uint64_t s : sums) all += s;
  return all;
}

std::int64_t buffer_words() {
  const std::int64_t quarter = sysconf(_SC_PHYS_PAGES) / 4 * sysconf(_SC_PAGESIZE);
  const std::int64_t wanted = std::min(last_cache_bytes() / 2 * 5, quarter);
  return std::max<std::int64_t>(wanted / 8 / kWindowWords, 2) * kWindowWords;
}

}  // namespace

std::int64_t last_cache_bytes() {
  const std::int64_t bytes = std::max(sysconf(_SC_LEVEL3_CACHE_SIZE), sysconf(_SC_LEVEL2_CACHE_SIZE));
  return bytes > 0 ? bytes : std::int64_t{32} << 20;
}

void Bandwidth::Unmap::operator()(std::uint64_t* words) const { munmap(words, static_cast<std::size_t>(bytes)); }

Bandwidth::Bandwidth() : words_(buffer_words()) {
  const auto bytes = static_cast<std::size_t>(8 * words_);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // Where the system refuses, pages are small, and so are everyone's.
  (void)madvise(memory, bytes, MADV_HUGEPAGE);
  memory_ = {static_cast<std::uint64_t*>(memory), Unmap{8 * words_}};
  for (std::int64_t i = 0; i < words_; ++i) memory_.get()[i] = static_cast<std::uint64_t>(i);
}

std::uint64_t* Bandwidth::next_window() {
  std::uint64_t* window = memory_.get() + at_;
  at_ = (at_ + kWindowWords) % words_;
  return window;
}

double Bandwidth::read(int threads) {
  const std::int64_t slice = kWindowWords / threads / kLineWords * kLineWords;
  std::atomic<std::uint64_t> sink{0};  // keeps the loads
  double best = 0;
  for (const Walk& walk : kWalks) {
    const std::uint64_t* window = next_window();
    const double seconds = seconds_at_once(threads, [&](int i) { sink += sum(window + i * slice, slice, walk); });
    best = std::max(best, static_cast<double>(8 * slice * threads) / seconds);
  }
  return best;
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
