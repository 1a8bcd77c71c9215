// Plain unicode blocks, eighths of a character fine.
#include "cli/bench_chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace ragdot::cli {
namespace {

using bench::Outcome;
using bench::Row;

constexpr int kWidth = 24;

/// `part` of kWidth characters, padded to them.
std::string bar(double part) {
  constexpr std::array<const char*, 8> kEighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const auto eighths = static_cast<int>(std::lround(std::clamp(part, 0.0, 1.0) * kWidth * 8));
  std::string text;
  for (int i = 0; i < eighths / 8; ++i) text += "█";
  text += kEighths[static_cast<std::size_t>(eighths % 8)];
  const int used = eighths / 8 + (eighths % 8 != 0 ? 1 : 0);
  return text + std::string(static_cast<std::size_t>(kWidth - used), ' ');
}

std::string name_of(const Row& row) {
  const std::string who = row.entry.contender == bench::kRagdot ? row.entry.recipe : row.entry.contender;
  return fmt::format("{} {} {} x{}", row.entry.shape, who, row.kernel.substr(0, 12), row.threads);
}

const Row& base_of(const std::vector<Row>& rows) {
  const auto plain = std::find_if(rows.begin(), rows.end(), [](const Row& row) {
    return row.entry.contender == bench::kRagdot && row.entry.recipe == "bf16";
  });
  return plain == rows.end() ? rows.front() : *plain;
}

}  // namespace

std::string chart_of(const std::vector<Row>& rows) {
  std::vector<Row> timed;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(timed),
               [](const Row& row) { return row.outcome == Outcome::timed && row.time.median > 0; });
  if (timed.size() < 2) return "";
  const Row& base = base_of(timed);
  // Speeds are of bytes where nothing is multiplied; over shapes of different size that and operations a second is what
  // compares.
  const auto speed = [](const Row& row) { return (row.operations > 0 ? row.operations : row.bytes) / row.time.median; };
  double fastest = 0;
  for (const Row& row : timed) fastest = std::max(fastest, speed(row) / speed(base));
  std::string text = fmt::format("  {:<44} speed, {} = 1{:<{}}  part of the limit\n", "", base.entry.recipe, "",
                                 std::max(0, kWidth - 5 - static_cast<int>(base.entry.recipe.size())));
  for (const Row& row : timed) {
    const double ratio = speed(row) / speed(base);
    const double limit = std::max({row.of_peak.value, row.of_read_bandwidth.value, row.of_copy_bandwidth.value});
    text +=
        fmt::format("  {:<44} {}{:>6.2f}  {}{:>5.0f}%\n", name_of(row), bar(ratio / fastest), ratio, bar(limit), 100 * limit);
  }
  return text;
}

}  // namespace ragdot::cli
