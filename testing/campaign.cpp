// The answers of a case are computed once; every kernel's result is compared with them.
#include "testing/campaign.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include "ragdot/kernels.hpp"
#include "testing/examine.hpp"

namespace ragdot::testing {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void add(CampaignReport& report, CampaignReport&& part) {
  report.cases += part.cases;
  for (const auto& [key, tally] : part.tallies) report.tallies[key].add(tally);
  for (const auto& [property, values] : part.coverage) {
    for (const auto& [value, count] : values) report.coverage[property][value] += count;
  }
  std::move(part.failures.begin(), part.failures.end(), std::back_inserter(report.failures));
}

std::vector<std::string> kernels_of(const CampaignOptions& options) {
  if (!options.kernel.empty()) return {options.kernel};
  std::vector<std::string> names;
  for (const KernelInfo& kernel : list_kernels()) {
    if (kernel.usable) names.push_back(kernel.name);
  }
  return names;
}

}  // namespace

void Tally::add(const Tally& other) {
  cases += other.cases;
  outputs += other.outputs;
  differing_bits += other.differing_bits;
  worst_over_bound = std::max(worst_over_bound, other.worst_over_bound);
  for (const auto& [reason, count] : other.skipped) skipped[reason] += count;
}

CampaignReport run_campaign(const CampaignOptions& options) {
  const Clock::time_point start = Clock::now();
  const std::vector<std::string> kernels = kernels_of(options);
  std::atomic<std::int64_t> next{0};
  std::atomic<std::int64_t> failed{0};
  std::mutex mutex;
  CampaignReport report;
  const auto work = [&] {
    CampaignReport part;
    for (std::int64_t i = 0; (i = next.fetch_add(1)) < options.cases;) {
      if ((options.seconds > 0 && seconds_since(start) >= options.seconds) || failed >= options.failures) break;
      const std::uint64_t index = options.first + static_cast<std::uint64_t>(i);
      const RandomCase random = random_case(options.seed, index);
      const Examined examined = examine(random, kernels, options.spoil);
      ++part.cases;
      count_properties(random, part.coverage);
      for (const auto& [kernel, tally] : examined.tallies) part.tallies[{kernel, random.problem.op}].add(tally);
      if (!examined.failure.empty()) {
        ++failed;
        part.failures.push_back({index, examined.kernel, examined.failure, random});
      }
      const std::scoped_lock lock(mutex);
      if (options.progress && i % 64 == 0) options.progress(i);
    }
    const std::scoped_lock lock(mutex);
    add(report, std::move(part));
  };
  const unsigned usual = std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::thread> threads(options.workers > 0 ? static_cast<std::size_t>(options.workers) - 1 : usual - 1);
  for (std::thread& t : threads) t = std::thread(work);
  work();
  for (std::thread& t : threads) t.join();
  std::sort(report.failures.begin(), report.failures.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
  report.seconds = seconds_since(start);
  return report;
}

}  // namespace ragdot::testing
