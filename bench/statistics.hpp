// What a list of timings says: the median, and how far the timings lie apart.
#pragma once

#include <cstdint>
#include <span>

namespace ragdot::bench {

/// Order statistics of seconds; quartiles are interpolated linearly.
struct Summary {
  double median = 0;
  double min = 0;
  double max = 0;
  double q1 = 0;
  double q3 = 0;
  std::int64_t runs = 0;

  /// Distance of the quartiles as a part of the median.
  [[nodiscard]] double spread() const;
  /// Half width of the median's 95 % interval as a part of the median (the notch of McGill, Tukey, Larsen 1978).
  [[nodiscard]] double median_error() const;
};

[[nodiscard]] Summary summarise(std::span<const double> seconds);

/// 0 for no values.
[[nodiscard]] double median_of(std::span<const double> values);

}  // namespace ragdot::bench
