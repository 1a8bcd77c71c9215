// What the fuzz targets share: choices read from a fuzzer's bytes, and the way a target says that something is wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace ragdot::fuzz {

/// Prints a sentence and aborts: libFuzzer keeps the input.
[[noreturn]] inline void fail(const std::string& sentence) {
  std::fprintf(stderr, "fuzz: %s\n", sentence.c_str());
  std::abort();
}

/// Choices from bytes, in order. Behind the last byte there are zeros, so that every prefix of an input means something.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}

  std::uint8_t byte() { return at_ == end_ ? std::uint8_t{0} : *at_++; }
  /// In [0, bound), bound at most 256.
  std::int64_t below(std::int64_t bound) { return byte() % bound; }
  /// In [low, high].
  std::int64_t between(std::int64_t low, std::int64_t high) { return low + below(high - low + 1); }
  bool flag() { return (byte() & 1U) != 0; }
  template <class T>
  T number() {
    T value{};
    const auto left = static_cast<std::size_t>(end_ - at_);
    const std::size_t bytes = left < sizeof value ? left : sizeof value;
    if (bytes > 0) std::memcpy(&value, at_, bytes);
    at_ += bytes;
    return value;
  }
  template <class T, std::size_t N>
  const T& pick(const T (&values)[N]) {
    return values[byte() % N];
  }

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

}  // namespace ragdot::fuzz

/// The entry points that libFuzzer calls.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
