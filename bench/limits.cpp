// Samples limits, and holds the table of kernels and instructions.
#include "bench/limits.hpp"

#include <algorithm>
#include <array>

#include "bench/peaks/instructions.hpp"
#include "bench/statistics.hpp"

namespace ragdot::bench {
namespace {

struct KernelPeak {
  const char* kernel;
  const char* peak;
  const char* integer_peak;
};
constexpr std::array<KernelPeak, 5> kKernelPeaks = {{{"amx", "amx_bf16", "amx_int8"},
                                                     {"avx512bf16", "avx512_bf16", "avx512_vnni"},
                                                     {"avx512", "fma_f32", "avx512_vnni"},
                                                     {"avx2", "avx2_fma_f32", "avx2_fma_f32"},
                                                     {"portable", "sse_f32", "sse_f32"}}};

bool is_available(std::string_view peak) {
  return std::ranges::any_of(peak_loops(), [&](const PeakLoop& loop) { return peak == loop.name && loop.available(); });
}

}  // namespace

void LimitSamples::add(const LimitSamples& others) {
  for (const auto& [key, rates] : others.rates_) {
    std::vector<double>& mine = rates_[key];
    mine.insert(mine.end(), rates.begin(), rates.end());
  }
}

double LimitSamples::median(const std::string& limit, int threads) const { return median_of(rates(limit, threads)); }

std::span<const double> LimitSamples::rates(const std::string& limit, int threads) const {
  const auto found = rates_.find({limit, threads});
  return found == rates_.end() ? std::span<const double>() : found->second;
}

void Meter::sample(const std::string& limit, int threads, LimitSamples& into) {
  if (limit == kRead) into.add(limit, threads, bandwidth_.read(threads));
  if (limit == kCopy) into.add(limit, threads, bandwidth_.copy(threads));
  for (const PeakLoop& loop : peak_loops()) {
    if (limit == loop.name && loop.available()) into.add(limit, threads, peak_rate(loop, threads));
  }
}

std::vector<std::string> all_limits() {
  std::vector<std::string> names = {kRead, kCopy};
  for (const PeakLoop& loop : peak_loops()) {
    if (loop.available()) names.emplace_back(loop.name);
  }
  return names;
}

std::string peak_of(std::string_view kernel, Integers integers) {
  for (const KernelPeak& k : kKernelPeaks) {
    if (kernel == k.kernel) return integers == Integers::yes && is_available(k.integer_peak) ? k.integer_peak : k.peak;
  }
  return "";
}

}  // namespace ragdot::bench
