// Fuzzes the parser of problem strings: no text harms it, and what it accepts is printed and read back as the same problem.
#include "testing/problem.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <tuple>

#include "testing/sizes.hpp"
#include "tests/fuzz/input.hpp"

namespace ragdot::fuzz {
namespace {

using testing::Problem;
using testing::Shapes;

void check_refusal(const Status& status) {
  if (status.message().rfind("problem: ", 0) != 0) fail(fmt::format("refused without a sentence: {}", status.message()));
}

/// Names every field: a new one does not compile here before it is compared.
bool same(const Problem& a, const Problem& b) {
  const auto fields = [](const Problem& p) {
    const auto& [op, g, m, k, n, lhs, rhs, origin, out, order, dist, starts, first, local, outside, act, bias, mode, recipe,
                 tile, kernel, threads, seed, data] = p;
    const Tiling t = tile.value_or(Tiling{});
    return std::tuple(op, g, m, k, n, lhs, rhs, origin, out, order, dist, starts, first, local, outside, act, bias, mode,
                      recipe, t.tm, t.tk, t.tn, kernel, threads, seed, data);
  };
  return fields(a) == fields(b);
}

void check_round_trip(const Problem& problem) {
  const std::string text = testing::to_string(problem);
  const Result<Problem> again = testing::parse_problem(text);
  if (!again.ok()) fail(fmt::format("{} is printed and not read: {}", text, again.status().message()));
  if (!same(again.value(), problem)) fail(fmt::format("{} is read as {}", text, testing::to_string(again.value())));
}

/// Every problem deals at most its rows to its groups.
void check_sizes(const Problem& problem) {
  constexpr std::int64_t kMostGroups = 64;
  constexpr std::int64_t kMostRows = 1024;
  if (problem.g > kMostGroups || problem.m > kMostRows) return;
  const std::vector<std::int64_t> sizes = testing::group_sizes(problem);
  const bool negative = std::any_of(sizes.begin(), sizes.end(), [](std::int64_t size) { return size < 0; });
  const std::int64_t rows = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  if (static_cast<std::int64_t>(sizes.size()) != problem.g || negative || rows > problem.m) {
    fail(fmt::format("{} deals {} rows to {} groups", testing::to_string(problem), rows, sizes.size()));
  }
}

}  // namespace
}  // namespace ragdot::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ragdot::fuzz;
  const std::string text(reinterpret_cast<const char*>(data), size);
  // Case files leave the shapes out; such a text need not be one that a command takes.
  const bool has_shapes = text.find(" g=") != std::string::npos;
  const auto problem = ragdot::testing::parse_problem(text, has_shapes ? Shapes::required : Shapes::optional);
  if (!problem.ok()) {
    check_refusal(problem.status());
    return 0;
  }
  if (!has_shapes) return 0;
  check_round_trip(problem.value());
  check_sizes(problem.value());
  return 0;
}
