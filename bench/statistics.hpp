// What timings say: medians, and how far those of different starts lie apart.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ragdot::bench {

/// The timings of one start: everything made anew, then timed round by round.
using Timings = std::vector<double>;

/// Order statistics of seconds; quartiles are interpolated linearly.
struct Summary {
  double median = 0;  // of the starts' medians
  double min = 0;     // this and the next three: of all timings
  double max = 0;
  double q1 = 0;
  double q3 = 0;
  std::int64_t runs = 0;
  std::vector<double> starts = {};  // the median of each start

  /// Least and greatest median of a start: the printed spread. Where starts are independent, the median of all possible starts
  /// lies between them with probability 1 - 2^(1 - n) for n starts: 94 % for five.
  [[nodiscard]] double low() const;
  [[nodiscard]] double high() const;
};

/// Starts without timings are left out.
[[nodiscard]] Summary summarise(std::span<const Timings> starts);

/// Half width of the median's 95 % interval as a part of the median, within one start (the notch of McGill, Tukey, Larsen
/// 1978).
[[nodiscard]] double median_error(std::span<const double> seconds);

/// 0 for no values.
[[nodiscard]] double median_of(std::span<const double> values);

/// A quotient and how far it lies apart over the starts of one comparison.
struct Quotient {
  double value = 0;  // of the medians
  double low = 0;    // of the medians of each start; the value lies between
  double high = 0;
};

/// Start by start, as both were timed interleaved in each: what changes from start to start for both of them cancels. Both have
/// the same number of starts.
[[nodiscard]] Quotient quotient_of(const Summary& numerator, const Summary& denominator);

}  // namespace ragdot::bench
