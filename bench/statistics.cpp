// Quantiles by linear interpolation between order statistics.
#include "bench/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>

namespace ragdot::bench {
namespace {

double quantile(const std::vector<double>& sorted, double part) {
  const double at = part * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

std::vector<double> sorted(std::span<const double> values) {
  std::vector<double> all(values.begin(), values.end());
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

double Summary::low() const { return starts.empty() ? 0 : *std::min_element(starts.begin(), starts.end()); }

double Summary::high() const { return starts.empty() ? 0 : *std::max_element(starts.begin(), starts.end()); }

Summary summarise(std::span<const Timings> starts) {
  Summary s;
  Timings all;
  for (const Timings& start : starts) {
    if (start.empty()) continue;
    s.starts.push_back(median_of(start));
    s.rounds.push_back(start);
    all.insert(all.end(), start.begin(), start.end());
  }
  if (all.empty()) return s;
  std::sort(all.begin(), all.end());
  s.median = median_of(s.starts);
  s.min = all.front();
  s.max = all.back();
  s.q1 = quantile(all, 0.25);
  s.q3 = quantile(all, 0.75);
  s.runs = static_cast<std::int64_t>(all.size());
  return s;
}

double median_error(std::span<const double> seconds) {
  if (seconds.empty()) return 0;
  const std::vector<double> ordered = sorted(seconds);
  const double middle = quantile(ordered, 0.5);
  const double range = quantile(ordered, 0.75) - quantile(ordered, 0.25);
  return middle > 0 ? 1.57 * range / middle / std::sqrt(static_cast<double>(ordered.size())) : 0;
}

double median_of(std::span<const double> values) { return values.empty() ? 0 : quantile(sorted(values), 0.5); }

Quotient quotient_of(std::span<const Timings> starts) {
  const Summary s = summarise(starts);
  return {s.median, s.low(), s.high()};
}

Quotient quotient_of(const Summary& numerator, const Summary& denominator) {
  std::vector<Timings> starts;
  for (std::size_t s = 0; s < std::min(numerator.starts.size(), denominator.starts.size()); ++s) {
    Timings& quotients = starts.emplace_back();
    if (s >= numerator.rounds.size() || s >= denominator.rounds.size()) {
      quotients = {numerator.starts[s] / denominator.starts[s]};
      continue;
    }
    const Timings& above = numerator.rounds[s];
    const Timings& below = denominator.rounds[s];
    std::transform(above.begin(), above.begin() + static_cast<std::ptrdiff_t>(std::min(above.size(), below.size())),
                   below.begin(), std::back_inserter(quotients), std::divides<>());
  }
  if (starts.empty()) starts.push_back({numerator.median / denominator.median});
  return quotient_of(starts);
}

}  // namespace ragdot::bench
