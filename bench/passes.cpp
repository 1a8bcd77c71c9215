// Batches that fit into memory; within a batch, pass after pass.
#include "bench/passes.hpp"

#include <fmt/format.h>
#include <unistd.h>

namespace ragdot::bench {
namespace {

/// How many comparisons from the first on fit into memory together, one at the least.
std::size_t batch_size(std::span<const Comparison> comparisons, double memory_bytes) {
  std::size_t count = 0;
  double bytes = 0;
  for (const Comparison& c : comparisons) {
    bytes += Trial::data_bytes(c);
    if (count > 0 && bytes > memory_bytes) break;
    ++count;
  }
  return count;
}

}  // namespace

void run_passes(std::span<const Comparison> comparisons, const Settings& settings, double memory_bytes, Meter& meter,
                LimitSamples& limits, const Progress& progress, const Finished& finished) {
  const auto all_starts = static_cast<double>(comparisons.size()) * static_cast<double>(settings.starts);
  double done = 0;
  for (std::size_t begin = 0; begin < comparisons.size();) {
    const std::size_t end = begin + batch_size(comparisons.subspan(begin), memory_bytes);
    std::vector<Trial> trials;
    for (std::size_t i = begin; i < end; ++i) {
      Settings shown = settings;
      shown.progress = [&, i](const std::string& what) {
        progress(done / all_starts, fmt::format("{}: {}", comparisons[i].title, what));
      };
      trials.emplace_back(comparisons[i], shown);
    }
    for (std::int64_t pass = 0; pass < settings.starts; ++pass) {
      if (pass > 0) settings.between_passes();
      for (Trial& trial : trials) {
        trial.start(meter);
        ++done;
      }
    }
    for (std::size_t i = begin; i < end; ++i) finished(i, trials[i - begin].finish(limits));
    begin = end;
  }
}

double usual_memory_bytes() {
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 4;
}

}  // namespace ragdot::bench
