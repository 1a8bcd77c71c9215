// Poisons through AddressSanitizer's interface, which is exact at the end of a stretch and 8 bytes coarse at its start.
#include "tests/fuzz/abi/arena.hpp"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <vector>

#include "testing/random.hpp"

namespace ragdot::fuzz {

void Arena::close_all() {
  std::memset(written_, 0, sizeof written_);
  opened_ = 0;
}

void Arena::reset(std::uint8_t seed, int plain) {
  close_all();
  used_ = 0;
  if (plain >= 0) {
    std::memset(memory_, plain, sizeof memory_);
    return;
  }
  static const std::vector<std::uint64_t> kRandom = [] {
    std::vector<std::uint64_t> words(kBytes / 8 + 256);
    testing::Random random(1);
    std::generate(words.begin(), words.end(), [&] { return random.next(); });
    return words;
  }();
  std::memcpy(memory_, kRandom.data() + seed, sizeof memory_);
}

std::byte* Arena::take(std::int64_t bytes, std::int64_t offset) {
  constexpr std::int64_t kGap = 16;
  const std::int64_t begin = (used_ + kGap + 7) / 8 * 8 + offset;
  if (bytes < 0 || bytes > kBytes - begin) return nullptr;
  used_ = begin + bytes;
  return memory_ + begin;
}

bool Arena::holds(const void* data, __int128 bytes) const {
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  const auto first = reinterpret_cast<std::uintptr_t>(memory_);
  return begin >= first && begin - first <= static_cast<std::uintptr_t>(kBytes) &&
         bytes <= kBytes - static_cast<__int128>(begin - first);
}

void Arena::open(const void* data, std::int64_t bytes) {
  if (bytes == 0) return;
  if (opened_ == kMostStretches) fail("the arena has too few stretches");
  open_[opened_++] = {index_of(data), bytes};
}

bool Arena::mark_written(const void* data, std::int64_t bytes) {
  const std::int64_t begin = index_of(data);
  const bool fresh = !is_written(data, bytes);
  std::memset(written_ + begin, 1, static_cast<std::size_t>(bytes));
  return fresh;
}

bool Arena::is_written(const void* data, std::int64_t bytes) const {
  const std::uint8_t* begin = written_ + index_of(data);
  return std::any_of(begin, begin + bytes, [](std::uint8_t w) { return w != 0; });
}

void Arena::seal() {
  std::memcpy(before_, memory_, sizeof memory_);
  ASAN_POISON_MEMORY_REGION(memory_, sizeof memory_);
  for (std::size_t i = 0; i < opened_; ++i) {
    ASAN_UNPOISON_MEMORY_REGION(memory_ + open_[i].begin, static_cast<std::size_t>(open_[i].bytes));
  }
}

bool Arena::unseal_changed(bool refused) {
  ASAN_UNPOISON_MEMORY_REGION(memory_, sizeof memory_);
  constexpr std::int64_t kBlock = 64;
  for (std::int64_t block = 0; block < kBytes; block += kBlock) {
    if (std::memcmp(before_ + block, memory_ + block, kBlock) == 0) continue;
    if (refused) return true;
    for (std::int64_t i = block; i < block + kBlock; ++i) {
      if (written_[i] == 0 && before_[i] != memory_[i]) return true;
    }
  }
  return false;
}

}  // namespace ragdot::fuzz
