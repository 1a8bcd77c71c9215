// The table for people and the JSON for programs, from the same rows.
#include "cli/bench_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "bench/contenders/contender.hpp"
#include "bench/peaks/bandwidth.hpp"
#include "bench/peaks/instructions.hpp"
#include "cli/exit_codes.hpp"
#include "cli/machine.hpp"
#include "cli/print.hpp"
#include "ragdot/kernels.hpp"

namespace ragdot::cli {
namespace {

using bench::Outcome;
using bench::Row;

Json positive(double x) { return x > 0 ? Json(x) : Json(); }

/// The problem string that replays the row, with what the contender was told.
std::string replay(const Row& row) { return to_string(row.entry.problem); }

Json json_of(const Row& row, const std::string& comparison) {
  Json json = {
      {"problem", replay(row)},           {"op", row.op},         {"shape", row.entry.shape}, {"recipe", row.entry.recipe},
      {"contender", row.entry.contender}, {"kernel", row.kernel}, {"threads", row.threads},   {"comparison", comparison}};
  if (row.outcome != Outcome::timed) {
    json["outcome"] = row.outcome == Outcome::wrong ? "wrong" : "impossible";
    json["refusal"] = row.refusal;
    return json;
  }
  json.update({{"median_s", row.time.median},
               {"min_s", row.time.min},
               {"max_s", row.time.max},
               {"runs", row.time.runs},
               {"low_s", row.time.low()},
               {"high_s", row.time.high()},
               {"starts_s", row.time.starts},
               {"tflops", row.tflops()},
               {"gbs", row.gbs()},
               {"of_peak", positive(row.of_peak.value)},
               {"of_read_bandwidth", positive(row.of_read_bandwidth.value)},
               {"of_copy_bandwidth", positive(row.of_copy_bandwidth.value)},
               {"peak", row.peak},
               {"q1_s", row.time.q1},
               {"q3_s", row.time.q3},
               {"operations", row.operations},
               {"bytes", row.bytes},
               {"tile", row.tile},
               {"weight_copies", row.weight_copies}});
  return json;
}

Json machine_of(const BenchReport& report) {
  Json machine = machine_json();
  Json peaks = Json::object();
  for (const bench::PeakLoop& loop : bench::peak_loops())
    peaks[loop.name] = positive(report.limits.median(loop.name, report.threads) * 1e-12);
  machine["isa"] = present_features();
  machine["threads"] = report.threads;
  machine["peak_tflops"] = peaks;
  machine["read_gbs"] = positive(report.limits.median(bench::kRead, report.threads) * 1e-9);
  machine["copy_gbs"] = positive(report.limits.median(bench::kCopy, report.threads) * 1e-9);
  machine["copy"] = "memcpy, bytes read and written";
  machine["bandwidth_buffer_bytes"] = report.buffer_bytes;
  machine["last_cache_bytes"] = bench::last_cache_bytes();
  machine["onednn"] = bench::onednn_version();
  machine["load_average"] = report.load_average;
  return machine;
}

std::string percent(double part) { return part > 0 ? fmt::format("{:.1f}%", 100 * part) : "-"; }

std::string rate(double x) { return x > 0 ? fmt::format("{:.3g}", x) : "-"; }

constexpr const char* kLine = "{:<22} {:<15} {:<12} {:<24} {:>3} {:>10} {:>13} {:>5} {:>8} {:>7} {:>8} {:>8}";

/// "-1.2 +3.4 %": the least and the greatest median of a start, from the median.
std::string spread(const bench::Summary& time) {
  return fmt::format("{:+.1f} {:+.1f} %", 100 * (time.low() / time.median - 1), 100 * (time.high() / time.median - 1));
}

void print_row(const Row& row) {
  const std::string place = fmt::format("{} {}", row.op, row.entry.shape);
  const std::string& contender = row.entry.contender;
  if (row.outcome != Outcome::timed) {
    put("{:<22} {:<15} {:<12} {:<24} {}: {}\n", place, row.entry.recipe, contender, row.kernel,
        row.outcome == Outcome::wrong ? "REFUSED" : "not run", row.refusal);
    return;
  }
  put(kLine, place, row.entry.recipe, contender, row.kernel, row.threads, fmt::format("{:.3f}", row.time.median * 1e3),
      spread(row.time), row.time.runs, rate(row.tflops()), rate(row.gbs()), percent(row.of_peak.value),
      percent(row.of_read_bandwidth.value > 0 ? row.of_read_bandwidth.value : row.of_copy_bandwidth.value));
  if (row.entry.problem.tile) {
    const Tiling& t = *row.entry.problem.tile;
    put("  tile {}x{}x{}, used {}", t.tm, t.tk, t.tn, row.tile);
  } else {
    put("  {}", row.tile);
  }
  put("{}\n", row.weight_copies > 1 ? fmt::format("  {} weight copies in turn", row.weight_copies) : "");
}

}  // namespace

std::vector<Row> BenchReport::rows() const {
  std::vector<Row> all;
  for (const ComparisonReport& c : comparisons) all.insert(all.end(), c.rows.begin(), c.rows.end());
  return all;
}

Json json_of(const BenchReport& report) {
  Json rows = Json::array();
  Json refused = Json::array();
  Json ratios = Json::object();
  Json spreads = Json::object();
  for (const ComparisonReport& c : report.comparisons) {
    for (const Row& row : c.rows) (row.outcome == Outcome::timed ? rows : refused).push_back(json_of(row, c.title));
    for (const auto& [name, quotient] : c.ratios) {
      ratios[name] = quotient.value;
      spreads[name] = {quotient.low, quotient.high};
    }
  }
  Json json = {{"command", "bench"},
               {"version", version()},
               {"command_line", report.command_line},
               {"preset", report.preset},
               {"kernels", report.kernels},
               {"machine", machine_of(report)},
               {"rows", rows},
               {"ratios", ratios},
               {"ratio_spreads", spreads},
               {"refused", refused}};
  const char* commit = std::getenv("RAGDOT_COMMIT");
  if (commit != nullptr && *commit != '\0') json["commit"] = commit;
  return json;
}

int exit_code_of(const std::vector<Row>& rows, const std::vector<std::string>& named) {
  const auto any = [&](auto is) { return std::any_of(rows.begin(), rows.end(), is); };
  if (any([](const Row& r) { return r.outcome == Outcome::wrong; })) return kCheckFailed;
  const auto timed = [](const Row& r) { return r.outcome == Outcome::timed && r.entry.contender == bench::kRagdot; };
  const bool all_named = std::all_of(named.begin(), named.end(), [&](const std::string& recipe) {
    return any([&](const Row& r) { return timed(r) && r.entry.recipe == recipe; });
  });
  return any(timed) && all_named ? kOk : kNotPossible;
}

void print_machine(const BenchReport& report) {
  const Json machine = machine_of(report);
  put("{}, {} threads; peaks in TFLOP/s:", machine["cpu"].get<std::string>(), report.threads);
  for (const auto& [name, peak] : machine["peak_tflops"].items()) {
    if (!peak.is_null()) put(" {} {:.3g}", name, peak.get<double>());
  }
  put("; reading {:.3g} GB/s, copying (memcpy) {:.3g} GB/s in {} MiB\n\n", machine["read_gbs"].get<double>(),
      machine["copy_gbs"].get<double>(), report.buffer_bytes >> 20);
  put(kLine, "op shape", "recipe", "contender", "kernel", "thr", "median ms", "spread", "runs", "TFLOP/s", "GB/s", "of peak",
      "of mem");
  put("  tile\n");
}

void print_rows(std::vector<Row> rows) {
  const bool swept = std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.entry.problem.tile.has_value(); });
  if (swept) std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.time.median < b.time.median; });
  for (const Row& row : rows) print_row(row);
}

void print_ratios(const bench::Ratios& ratios) {
  constexpr std::size_t kWidth = 120;
  std::string line;
  for (const auto& [name, q] : ratios) {
    const std::string text = fmt::format("  {} {:.3f} ({:.3f}-{:.3f})", name, q.value, q.low, q.high);
    if (line.size() + text.size() > kWidth) {
      put("{}\n", line);
      line.clear();
    }
    line += text;
  }
  if (!line.empty()) put("{}\n", line);
}

}  // namespace ragdot::cli
