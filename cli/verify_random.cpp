// A table of kernels and operations; each failure with the command that replays it.
#include "cli/verify_random.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cli/exit_codes.hpp"
#include "cli/print.hpp"
#include "ragdot/kernels.hpp"
#include "testing/words.hpp"

namespace ragdot::cli {
namespace {

using testing::CampaignFailure;
using testing::CampaignOptions;
using testing::CampaignReport;

std::string replay_of(const CampaignOptions& options, const CampaignFailure& failure) {
  return fmt::format("ragdot verify --random 1 --seed {} --first {}{}", options.seed, failure.index,
                     failure.kernel.empty() ? "" : " --kernel " + failure.kernel);
}

/// The kernel's place in the order of preference.
std::vector<KernelInfo> kernels_of(const CampaignOptions& options) {
  std::vector<KernelInfo> kernels = list_kernels();
  if (!options.kernel.empty()) std::erase_if(kernels, [&](const KernelInfo& k) { return k.name != options.kernel; });
  return kernels;
}

Json json_of_failure(const CampaignOptions& options, const CampaignFailure& failure, const std::string& smaller) {
  Json json = {{"index", failure.index},
               {"kernel", failure.kernel},
               {"problem", to_string(failure.random.problem)},
               {"call", to_string(failure.random.call)},
               {"failure", failure.sentence},
               {"replay", replay_of(options, failure)}};
  if (!smaller.empty()) json["smaller"] = smaller;
  return json;
}

Json json_of_rows(const CampaignOptions& options, const CampaignReport& report) {
  Json rows = Json::array();
  for (const KernelInfo& kernel : kernels_of(options)) {
    if (!kernel.usable) rows.push_back({{"kernel", kernel.name}, {"unusable", kernel.reason}});
    for (const auto& [word, op] : testing::kOps) {
      const auto found = report.tallies.find({kernel.name, op});
      if (found == report.tallies.end()) continue;
      const testing::Tally& t = found->second;
      rows.push_back({{"kernel", kernel.name},
                      {"op", word},
                      {"cases", t.cases},
                      {"outputs", t.outputs},
                      {"differing_bits", t.differing_bits},
                      {"worst_over_bound", t.worst_over_bound},
                      {"skipped", t.skipped}});
    }
  }
  return rows;
}

void print_rows(const Json& rows) {
  put("{:<12} {:<5} {:>8} {:>12} {:>9} {:>8}  skipped\n", "kernel", "op", "cases", "outputs", "diff bits", "worst/E");
  for (const Json& row : rows) {
    if (row.contains("unusable")) {
      put("{:<12} not run: {}\n", row["kernel"].get<std::string>(), row["unusable"].get<std::string>());
      continue;
    }
    std::int64_t skipped = 0;
    for (const Json& count : row["skipped"]) skipped += count.get<std::int64_t>();
    put("{:<12} {:<5} {:>8} {:>12} {:>9} {:>8.4f}  {}\n", row["kernel"].get<std::string>(), row["op"].get<std::string>(),
        row["cases"].get<std::int64_t>(), row["outputs"].get<std::int64_t>(), row["differing_bits"].get<std::int64_t>(),
        row["worst_over_bound"].get<double>(), skipped);
    for (const auto& [reason, count] : row["skipped"].items()) put("  {} skipped: {}\n", count.get<std::int64_t>(), reason);
  }
}

void print_failure(const Json& failure) {
  put("FAIL case {} on kernel {}: {}\n     {}\n     called {}\n     replay: {}\n", failure["index"].get<std::uint64_t>(),
      failure["kernel"].get<std::string>(), failure["failure"].get<std::string>(), failure["problem"].get<std::string>(),
      failure["call"].get<std::string>(), failure["replay"].get<std::string>());
  if (failure.contains("smaller")) put("     smaller: ragdot verify {}\n", failure["smaller"].get<std::string>());
}

}  // namespace

int verify_random(CampaignOptions options, const JsonOption& json_option) {
  Progress progress;
  options.progress = [&](std::int64_t done) { progress.show(fmt::format("[{}/{}] random cases", done, options.cases)); };
  const CampaignReport report = testing::run_campaign(options);
  progress.clear();
  const bool ok = report.failures.empty() && report.cases > 0;
  const Json rows = json_of_rows(options, report);
  Json failures = Json::array();
  for (const CampaignFailure& failure : report.failures) {
    const bool first = failures.empty();  // shrinking takes seconds
    failures.push_back(json_of_failure(options, failure, first ? testing::shrunk(failure) : ""));
  }
  if (!json_option.on_stdout()) {
    print_rows(rows);
    for (const Json& failure : failures) print_failure(failure);
    put("{} of {} random cases of seed {} from {} on, {} in {:.1f} s\n", report.cases, options.cases, options.seed,
        options.first, ok ? "all ok" : "NOT ok", report.seconds);
  }
  const Json json = {{"command", "verify"},
                     {"version", version()},
                     {"machine", machine_json()},
                     {"ok", ok},
                     {"random",
                      {{"seed", options.seed},
                       {"first", options.first},
                       {"asked", options.cases},
                       {"cases", report.cases},
                       {"seconds", report.seconds}}},
                     {"rows", rows},
                     {"failures", failures},
                     {"coverage", report.coverage}};
  if (!json_option.write(json)) return kUsage;
  return ok ? kOk : kCheckFailed;
}

}  // namespace ragdot::cli
