// Rows are matched by problem, shape, recipe, contender and threads; the kernel may have changed, that is news.
#include "cli/bench_compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "cli/exit_codes.hpp"

namespace ragdot::cli {
namespace {

struct Timing {
  double median = 0;
  double low = 0;
  double high = 0;
};
using Timings = std::map<std::string, Timing>;

Status no_result(const std::string& what) {
  return {Code::invalid_argument, fmt::format("bench: {}; compare files that ragdot bench --json wrote", what)};
}

Result<Timings> timings_of(const Json& report) {
  if (!report.is_object() || report.value("command", "") != "bench" || !report.contains("rows"))
    return no_result("a file is no result of ragdot bench");
  Timings all;
  try {
    for (const Json& row : report["rows"]) {
      const std::string name =
          fmt::format("{} {} {} {}: {} ({} threads)", row.at("op").get<std::string>(), row.at("shape").get<std::string>(),
                      row.at("recipe").get<std::string>(), row.at("contender").get<std::string>(),
                      row.at("problem").get<std::string>(), row.at("threads").get<int>());
      const double median = row.at("median_s").get<double>();
      if (!(median > 0)) return no_result(fmt::format("the median of {} is {}", name, median));
      // Files of other programs may have no quartiles.
      all[name] = {median, row.value("q1_s", row.at("min_s").get<double>()), row.value("q3_s", row.at("max_s").get<double>())};
    }
  } catch (const Json::exception& error) {
    return no_result(fmt::format("a row cannot be read ({})", error.what()));
  }
  return all;
}

std::string cpu_of(const Json& report) {
  const auto machine = report.find("machine");
  return machine != report.end() && machine->is_object() ? machine->value("cpu", "unknown") : "unknown";
}

Result<Json> load(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Status(Code::invalid_argument, fmt::format("bench: {} cannot be read; name a result file", path));
  Json json = Json::parse(file, nullptr, false);
  if (json.is_discarded()) return no_result(fmt::format("{} is no JSON", path));
  return json;
}

void print_changes(const Changes& changes, double threshold) {
  std::int64_t within = 0;
  for (const Change& c : changes.rows) {
    if (!c.beyond_spread) {
      ++within;
      continue;
    }
    const char* verdict = c.percent > threshold ? "SLOWER" : c.percent > 0 ? "slower" : "faster";
    fmt::print("{} {:>+7.1f} %  {:>10.3f} -> {:>10.3f} ms  {}\n", verdict, c.percent, c.old_median * 1e3, c.new_median * 1e3,
               c.name);
  }
  for (const std::string& name : changes.only_old) fmt::print("only in the old file: {}\n", name);
  for (const std::string& name : changes.only_new) fmt::print("only in the new file: {}\n", name);
  fmt::print("{} rows compared, {} within their spread; SLOWER: by more than {} % and beyond the spread\n", changes.rows.size(),
             within, threshold);
}

}  // namespace

Result<Changes> changes_between(const Json& before, const Json& after) {
  const auto old_times = timings_of(before);
  if (!old_times.ok()) return old_times.status();
  const auto new_times = timings_of(after);
  if (!new_times.ok()) return new_times.status();
  Changes changes;
  if (cpu_of(before) != cpu_of(after))
    changes.warning = fmt::format("the files are from different CPUs, {} and {}", cpu_of(before), cpu_of(after));
  for (const auto& [name, old_time] : old_times.value()) {
    const auto found = new_times.value().find(name);
    if (found == new_times.value().end()) {
      changes.only_old.push_back(name);
      continue;
    }
    const Timing& new_time = found->second;
    const double percent = 100 * (new_time.median / old_time.median - 1);
    const bool beyond = percent > 0 ? new_time.low > old_time.high : new_time.high < old_time.low;
    changes.rows.push_back({name, old_time.median, new_time.median, percent, beyond});
  }
  for (const auto& [name, timing] : new_times.value()) {
    if (!old_times.value().contains(name)) changes.only_new.push_back(name);
  }
  std::sort(changes.rows.begin(), changes.rows.end(), [](const Change& a, const Change& b) { return a.percent > b.percent; });
  return changes;
}

int compare_files(const std::string& before, const std::string& after, double threshold) {
  const auto old_report = load(before);
  const auto new_report = load(after);
  for (const auto* report : {&old_report, &new_report}) {
    if (report->ok()) continue;
    complain(report->status().message());
    return kUsage;
  }
  const auto changes = changes_between(old_report.value(), new_report.value());
  if (!changes.ok()) {
    complain(changes.status().message());
    return kUsage;
  }
  if (changes.value().rows.empty()) {
    complain("bench: the files have no row in common; run the same problems for both");
    return kUsage;
  }
  if (!changes.value().warning.empty()) complain(changes.value().warning);
  print_changes(changes.value(), threshold);
  const auto& rows = changes.value().rows;
  const bool slower =
      std::any_of(rows.begin(), rows.end(), [&](const Change& c) { return c.beyond_spread && c.percent > threshold; });
  return slower ? kCheckFailed : kOk;
}

}  // namespace ragdot::cli
