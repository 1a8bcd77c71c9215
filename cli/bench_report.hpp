// What ragdot bench says: the table, the ratios, the chart, and all of it as JSON.
#pragma once

#include <string>
#include <vector>

#include "bench/limits.hpp"
#include "bench/ratios.hpp"
#include "bench/row.hpp"
#include "cli/report.hpp"

namespace ragdot::cli {

/// The rows of one comparison.
struct ComparisonReport {
  std::string title;
  std::vector<bench::Row> rows;
  bench::Ratios ratios;
};

/// Everything that one run of the bench found out.
struct BenchReport {
  std::string command_line;
  std::string preset;                // "" for a problem
  std::vector<std::string> kernels;  // those asked for; empty: the automatic one
  int threads = 1;                   // of the machine's limits below
  std::int64_t buffer_bytes = 0;
  double load_average = 0;  // of the last minute before
  bench::LimitSamples limits;
  std::vector<ComparisonReport> comparisons;

  [[nodiscard]] std::vector<bench::Row> rows() const;
};

[[nodiscard]] Json json_of(const BenchReport& report);

/// 1 where a product was wrong; 3 where the library was timed nowhere, or nowhere on one of the recipes that the user named. A
/// rival, a kernel or another recipe that cannot be timed is a line in the table, no failure.
[[nodiscard]] int exit_code_of(const std::vector<bench::Row>& rows, const std::vector<std::string>& named = {});

void print_machine(const BenchReport& report);
/// One comparison, a line for each row; with tilings best first.
void print_rows(std::vector<bench::Row> rows);
/// Times over times, a few to a line: below 1 the first is faster.
void print_ratios(const bench::Ratios& ratios);

}  // namespace ragdot::cli
