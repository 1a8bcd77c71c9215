// Quantiles by linear interpolation between order statistics.
#include "bench/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace ragdot::bench {
namespace {

double quantile(const std::vector<double>& sorted, double part) {
  const double at = part * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

double Summary::spread() const { return median > 0 ? (q3 - q1) / median : 0; }

double Summary::median_error() const { return runs > 0 ? 1.57 * spread() / std::sqrt(static_cast<double>(runs)) : 0; }

Summary summarise(std::span<const double> seconds) {
  if (seconds.empty()) return {};
  std::vector<double> sorted(seconds.begin(), seconds.end());
  std::sort(sorted.begin(), sorted.end());
  return {quantile(sorted, 0.5),  sorted.front(),         sorted.back(),
          quantile(sorted, 0.25), quantile(sorted, 0.75), static_cast<std::int64_t>(sorted.size())};
}

double median_of(std::span<const double> values) { return summarise(values).median; }

}  // namespace ragdot::bench
