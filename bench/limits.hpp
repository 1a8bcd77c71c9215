// The machine's limits, sampled beside the contenders, and which of them bounds which kernel.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/peaks/bandwidth.hpp"

namespace ragdot::bench {

/// Names of limits: a peak loop's name (peaks/instructions.hpp), or one of these two.
inline constexpr const char* kRead = "read";
inline constexpr const char* kCopy = "copy";

/// Rates that were measured, by limit and number of threads.
class LimitSamples {
 public:
  void add(const std::string& limit, int threads, double rate) { rates_[{limit, threads}].push_back(rate); }
  void add(const LimitSamples& others);
  /// Operations or bytes a second; 0 where nothing was measured.
  [[nodiscard]] double median(const std::string& limit, int threads) const;
  /// In the order in which they came.
  [[nodiscard]] std::span<const double> rates(const std::string& limit, int threads) const;

 private:
  std::map<std::pair<std::string, int>, std::vector<double>> rates_;
};

/// Measures limits; holds the memory for it.
class Meter {
 public:
  [[nodiscard]] std::int64_t buffer_bytes() const { return bandwidth_.bytes(); }
  /// One sample of a limit; nothing where this CPU lacks the instruction.
  void sample(const std::string& limit, int threads, LimitSamples& into);

 private:
  Bandwidth bandwidth_;
};

/// Every limit that this CPU has.
[[nodiscard]] std::vector<std::string> all_limits();

/// The best instruction that a kernel could use on these operands, as the name of its peak loop; "" for an unknown kernel.
enum class Integers { no, yes };
[[nodiscard]] std::string peak_of(std::string_view kernel, Integers integers);

}  // namespace ragdot::bench
