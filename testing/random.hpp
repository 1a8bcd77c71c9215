// Random numbers that are the same on every machine: no library distribution, no libm.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <iterator>

namespace ragdot::testing {

/// splitmix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  /// In [0, below).
  std::int64_t below(std::int64_t bound) { return static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(bound)); }
  bool one_in(std::int64_t chances) { return below(chances) == 0; }
  /// In [low, high].
  std::int64_t between(std::int64_t low, std::int64_t high) { return low + below(high - low + 1); }
  template <class T>
  T of(std::initializer_list<T> choices) {
    return choices.begin()[below(std::ssize(choices))];
  }
  /// In [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// Close to a standard normal: the sum of eight 16-bit uniforms, of variance 8 / 12, scaled.
  float normal() {
    std::int64_t sum = -8 * 32768;
    for (std::uint64_t bits : {next(), next()}) {
      for (int i = 0; i < 4; ++i, bits >>= 16) sum += static_cast<std::int64_t>(bits & 0xffffU);
    }
    return static_cast<float>(sum) * (1.2247449F / 65536.0F);
  }

 private:
  std::uint64_t state_;
};

}  // namespace ragdot::testing
