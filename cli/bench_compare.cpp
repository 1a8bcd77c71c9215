// Rows are matched by run, problem, shape, recipe, contender and threads; the kernel may have changed, that is news.
#include "cli/bench_compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "bench/row.hpp"
#include "cli/exit_codes.hpp"
#include "cli/print.hpp"

namespace ragdot::cli {
namespace {

using bench::Quotient;
using bench::Summary;

/// A row as the file has it.
struct Timed {
  Quotient time;  // the median, and the spread around it
  Summary starts;
  std::string comparison;  // which rows were timed interleaved with it; "" for unknown
  bool is_library = false;
};
using Rows = std::map<std::string, Timed>;

Status no_result(const std::string& what) {
  return {Code::invalid_argument, fmt::format("bench: {}; compare files that ragdot bench --json wrote", what)};
}

/// ", run peers" of a row that was timed beside the peers; "" for one that was not.
std::string run_of(const Json& row) {
  const std::string run = row.value("run", "");
  return run.empty() ? "" : ", run " + run;
}

Timed timed_of(const Json& row) {
  Timed t;
  t.time.value = row.at("median_s").get<double>();
  // Files of other programs may have no starts.
  t.time.low = row.value("low_s", row.at("min_s").get<double>());
  t.time.high = row.value("high_s", row.at("max_s").get<double>());
  t.starts.median = t.time.value;
  t.starts.starts = row.value("starts_s", std::vector<double>{});
  const std::string comparison = row.value("comparison", "");
  if (!comparison.empty()) t.comparison = row.value("run", "") + comparison;
  t.is_library = row.at("contender").get<std::string>() == bench::kRagdot;
  return t;
}

Result<Rows> rows_of(const Json& report, const std::string& file) {
  Rows all;
  try {
    if (!report.is_object() || report.value("command", "") != "bench" || !report.contains("rows"))
      return no_result(fmt::format("{} is no result of ragdot bench", file));
    for (const Json& row : report["rows"]) {
      const std::string name =
          fmt::format("{} {} {} {}: {} ({} threads{})", row.at("op").get<std::string>(), row.at("shape").get<std::string>(),
                      row.at("recipe").get<std::string>(), row.at("contender").get<std::string>(),
                      row.at("problem").get<std::string>(), row.at("threads").get<int>(), run_of(row));
      const Timed timed = timed_of(row);
      if (!(timed.time.value > 0)) return no_result(fmt::format("{}: the median of {} is {}", file, name, timed.time.value));
      all[name] = timed;
    }
  } catch (const Json::exception& error) {
    return no_result(fmt::format("{}: a row cannot be read ({})", file, error.what()));
  }
  return all;
}

Change change_of(const std::string& name, const Quotient& before, const Quotient& after) {
  const double percent = 100 * (after.value / before.value - 1);
  return {name, before.value, after.value, percent, after.low > before.high || after.high < before.low, false};
}

/// What the contenders timed beside a row say of its change.
struct Witnesses {
  int all = 0;
  int slower = 0;
  int foreign = 0;  // of all: code that is not the library's
  int foreign_slower = 0;
};

bool have_starts(const Timed& a, const Timed& b) {
  return a.starts.starts.size() > 1 && a.starts.starts.size() == b.starts.starts.size();
}

Witnesses witnesses_of(const std::string& name, const Rows& old_rows, const Rows& new_rows, double threshold) {
  const Timed& old_row = old_rows.at(name);
  const Timed& new_row = new_rows.at(name);
  Witnesses w;
  for (const auto& [other, old_other] : old_rows) {
    const auto found = new_rows.find(other);
    if (other == name || found == new_rows.end()) continue;
    const Timed& new_other = found->second;
    const bool beside = !old_row.comparison.empty() && old_other.comparison == old_row.comparison &&
                        new_other.comparison == new_row.comparison && have_starts(old_row, old_other) &&
                        have_starts(new_row, new_other);
    if (!beside) continue;
    const Change relative =
        change_of(other, quotient_of(old_row.starts, old_other.starts), quotient_of(new_row.starts, new_other.starts));
    const int slower = relative.beyond_spread && relative.percent > threshold ? 1 : 0;
    ++w.all;
    w.slower += slower;
    if (old_other.is_library) continue;
    ++w.foreign;
    w.foreign_slower += slower;
  }
  return w;
}

/// A machine that became slower slows all contenders of a comparison; so a slower row is a regression when most of the others
/// kept their pace. Where the whole library became slower, only those of others did, and the times must show it too. A row
/// alone has nothing but its time.
bool is_regression(const Change& time, const Witnesses& w, double threshold) {
  if (time.percent <= threshold) return false;
  if (2 * w.slower > w.all) return true;
  return time.beyond_spread && w.foreign_slower == w.foreign && (w.foreign > 0 || w.all == 0);
}

std::vector<Change> ratio_changes(const Json& before, const Json& after) {
  std::vector<Change> all;
  const Json none = Json::object();
  const auto part = [&](const Json& report, const char* key) -> const Json& {
    const auto found = report.find(key);
    return found != report.end() && found->is_object() ? *found : none;
  };
  const auto quotient = [&](const Json& report, const std::string& name) {
    const auto& ends = part(report, "ratio_spreads").at(name);
    return Quotient{part(report, "ratios").at(name).get<double>(), ends.at(0).get<double>(), ends.at(1).get<double>()};
  };
  for (const auto& [name, ends] : part(before, "ratio_spreads").items()) {
    if (part(after, "ratio_spreads").contains(name))
      all.push_back(change_of(name, quotient(before, name), quotient(after, name)));
  }
  return all;
}

std::string cpu_of(const Json& report) {
  const auto machine = report.find("machine");
  const bool named =
      machine != report.end() && machine->is_object() && machine->contains("cpu") && machine->at("cpu").is_string();
  return named ? machine->at("cpu").get<std::string>() : "unknown";
}

Result<Json> load(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return Status(Code::invalid_argument, fmt::format("bench: {} is a folder; name a result file", path));
  std::ifstream file(path);
  if (!file) return Status(Code::invalid_argument, fmt::format("bench: {} cannot be read; name a result file", path));
  Json json = Json::parse(file, nullptr, false);
  if (json.is_discarded()) return no_result(fmt::format("{} is no JSON", path));
  return json;
}

std::int64_t within_spread(const std::vector<Change>& changes) {
  return std::count_if(changes.begin(), changes.end(), [](const Change& c) { return !c.beyond_spread; });
}

void print_changes(const Changes& changes, double threshold) {
  for (const Change& c : changes.times) {
    if (!c.beyond_spread && !c.regression) continue;
    const char* verdict = c.regression ? "SLOWER" : c.percent > 0 ? "slower" : "faster";
    put("{} {:>+7.1f} %  {:>10.3f} -> {:>10.3f} ms  {}\n", verdict, c.percent, c.before * 1e3, c.after * 1e3, c.name);
  }
  for (const Change& c : changes.ratios) {
    if (c.beyond_spread) put("ratio  {:>+7.1f} %  {:>10.3f} -> {:>10.3f}     {}\n", c.percent, c.before, c.after, c.name);
  }
  for (const std::string& name : changes.only_old) put("only in the old file: {}\n", name);
  for (const std::string& name : changes.only_new) put("only in the new file: {}\n", name);
  put("{} times compared, {} within their spread; {} ratios, {} within theirs. SLOWER: by more than {} %, and so against "
      "what was timed beside it\n",
      changes.times.size(), within_spread(changes.times), changes.ratios.size(), within_spread(changes.ratios), threshold);
}

}  // namespace

Result<Changes> changes_between(const Json& before, const Json& after, double threshold, const Names& names) {
  const auto old_rows = rows_of(before, names.before);
  if (!old_rows.ok()) return old_rows.status();
  const auto new_rows = rows_of(after, names.after);
  if (!new_rows.ok()) return new_rows.status();
  Changes changes;
  if (cpu_of(before) != cpu_of(after))
    changes.warning = fmt::format("the files are from different CPUs, {} and {}", cpu_of(before), cpu_of(after));
  for (const auto& [name, old_row] : old_rows.value()) {
    const auto found = new_rows.value().find(name);
    if (found == new_rows.value().end()) {
      changes.only_old.push_back(name);
      continue;
    }
    Change time = change_of(name, old_row.time, found->second.time);
    const Witnesses w = witnesses_of(name, old_rows.value(), new_rows.value(), threshold);
    time.regression = old_row.is_library && is_regression(time, w, threshold);
    changes.times.push_back(time);
  }
  for (const auto& [name, row] : new_rows.value()) {
    if (!old_rows.value().contains(name)) changes.only_new.push_back(name);
  }
  try {
    changes.ratios = ratio_changes(before, after);
  } catch (const Json::exception& error) {
    return no_result(fmt::format("a ratio cannot be read ({})", error.what()));
  }
  std::sort(changes.times.begin(), changes.times.end(), [](const Change& a, const Change& b) { return a.percent > b.percent; });
  std::sort(changes.ratios.begin(), changes.ratios.end(),
            [](const Change& a, const Change& b) { return std::abs(a.percent) > std::abs(b.percent); });
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
  const auto changes = changes_between(old_report.value(), new_report.value(), threshold, {before, after});
  if (!changes.ok()) {
    complain(changes.status().message());
    return kUsage;
  }
  const auto& times = changes.value().times;
  if (times.empty()) {
    complain("bench: the files have no row in common; run the same problems for both");
    return kUsage;
  }
  if (!changes.value().warning.empty()) complain(changes.value().warning);
  print_changes(changes.value(), threshold);
  const bool slower = std::any_of(times.begin(), times.end(), [](const Change& c) { return c.regression; });
  return slower ? kCheckFailed : kOk;
}

}  // namespace ragdot::cli
