// What timings say: medians, and how far those of different starts lie apart.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ragdot::bench {

/// The timings of one start: everything made anew, then timed round by round. Number r of two contenders of a comparison are of
/// one round, a fraction of a second apart.
using Timings = std::vector<double>;

/// Order statistics of seconds; quartiles are interpolated linearly.
struct Summary {
  double median = 0;  // of the starts' medians
  double min = 0;     // this and the next three: of all timings
  double max = 0;
  double q1 = 0;
  double q3 = 0;
  std::int64_t runs = 0;
  std::vector<double> starts = {};   // the median of each start
  std::vector<Timings> rounds = {};  // of each start

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
  double value = 0;  // the median of those of the starts
  double low = 0;    // the least and the greatest of them
  double high = 0;
};

/// From the quotients of each start's rounds; all zero without any.
[[nodiscard]] Quotient quotient_of(std::span<const Timings> starts);

/// A start's quotient is the median of its rounds': what changes from round to round for both of them cancels. Where the rounds
/// are not known it is that of the start's medians, and without starts that of the medians.
[[nodiscard]] Quotient quotient_of(const Summary& numerator, const Summary& denominator);

}  // namespace ragdot::bench
