// Pairs rows that differ in one thing: recipe, contender, kernel, threads, shape or tile.
#include "bench/ratios.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace ragdot::bench {
namespace {

/// How a row was run, and on what, apart from the recipe.
struct Way {
  std::string op;
  std::string shape;
  std::string kernel;
  int threads = 0;

  bool operator==(const Way&) const = default;
};

Way way_of(const Row& row) { return {row.op, row.entry.shape, row.entry.contender == kRagdot ? row.kernel : "", row.threads}; }

bool is_library(const Row& row) { return row.entry.contender == kRagdot; }
bool same_recipe(const Row& a, const Row& b) {
  return is_library(a) && is_library(b) && a.entry.recipe == b.entry.recipe && a.op == b.op;
}

class Pairs {
 public:
  explicit Pairs(const std::vector<Row>& rows) {
    std::copy_if(rows.begin(), rows.end(), std::back_inserter(rows_),
                 [](const Row& row) { return row.outcome == Outcome::timed && row.time.runs > 0; });
  }

  Ratios all() {
    for (const Row& row : rows_) {
      if (!row.entry.problem.tile) with_recipes(row);
      with_ways(row);
      if (row.weight_copies > 1) add_part(row, "read_bandwidth", row.of_read_bandwidth);
      if (row.of_copy_bandwidth.value > 0) add_part(row, "copy_bandwidth", row.of_copy_bandwidth);
    }
    automatic_over_best();
    return std::move(ratios_);
  }

 private:
  void add(const std::string& name, const Quotient& quotient, double factor = 1) {
    ratios_.push_back({name, {factor * quotient.value, factor * quotient.low, factor * quotient.high}});
  }

  /// A part of a limit that was reached: the greater the shorter the time.
  void add_part(const Row& row, const char* limit, const Quotient& part) {
    add(fmt::format("{}.{}/{}", place(row), name(row), limit), part);
  }

  static std::string name(const Row& row) { return is_library(row) ? row.entry.recipe : row.entry.contender; }

  /// "gmm.w0", with what sets the row's way apart from the first one: "gmm.w0@avx512@threads1".
  [[nodiscard]] std::string place(const Row& row) const {
    const Row& first = rows_.front();
    std::string text = fmt::format("{}.{}", row.op, row.entry.shape);
    if (is_library(row) && is_library(first) && row.kernel != first.kernel) text += "@" + row.kernel;
    if (row.threads != first.threads) text += fmt::format("@threads{}", row.threads);
    return text;
  }

  /// Recipes against bf16 and channelwise, other contenders against every recipe.
  void with_recipes(const Row& row) {
    for (const Row& other : rows_) {
      if (other.entry.problem.tile || !is_library(other)) continue;
      Way mine = way_of(row);
      if (!is_library(row)) mine.kernel = other.kernel;
      if (way_of(other) != mine) continue;
      const bool is_base =
          other.entry.recipe == "bf16" || (other.entry.recipe == "channelwise" && row.entry.recipe == "blockwise");
      if (is_library(row) && (!is_base || row.entry.recipe == other.entry.recipe || row.entry.recipe == "bf16")) continue;
      add(fmt::format("{}.{}/{}", place(other), name(row), other.entry.recipe), quotient_of(row.time, other.time));
    }
  }

  /// The same recipe on the first other kernel, thread count or shape; over shapes, time for an operation.
  void with_ways(const Row& row) {
    for (const Row& other : rows_) {
      if (&other == &row) return;
      if (!same_recipe(row, other) || row.entry.problem.tile || other.entry.problem.tile) continue;
      const Way a = way_of(row);
      const Way b = way_of(other);
      const Quotient quotient = quotient_of(row.time, other.time);
      if (a.shape != b.shape) {
        const double rate = row.operations > 0 ? other.operations / row.operations : other.bytes / row.bytes;
        if (a.kernel == b.kernel && a.threads == b.threads)
          add(fmt::format("{}.{}.{}/{}", a.op, name(row), a.shape, b.shape), quotient, rate);
      } else if (a.kernel != b.kernel && a.threads == b.threads) {
        add(fmt::format("{}.{}.{}.{}/{}", a.op, a.shape, name(row), a.kernel, b.kernel), quotient);
      } else if (a.kernel == b.kernel && a.threads != b.threads) {
        const bool more = a.threads > b.threads;
        add(fmt::format("{}.{}.{}.threads{}/threads{}", a.op, a.shape, name(row), std::min(a.threads, b.threads),
                        std::max(a.threads, b.threads)),
            more ? quotient_of(other.time, row.time) : quotient);
      }
    }
  }

  /// Where tilings were swept: how far the automatic one is from the best.
  void automatic_over_best() {
    for (const Row& row : rows_) {
      if (row.entry.problem.tile) continue;
      Quotient best;
      for (const Row& other : rows_) {
        if (!other.entry.problem.tile || !same_recipe(row, other) || way_of(row) != way_of(other)) continue;
        const Quotient quotient = quotient_of(row.time, other.time);
        if (quotient.value > best.value) best = quotient;
      }
      if (best.value > 0) add(fmt::format("{}.{}.tile_auto/tile_best", place(row), name(row)), best);
    }
  }

  std::vector<Row> rows_;
  Ratios ratios_;
};

}  // namespace

Ratios ratios_of(const std::vector<Row>& rows) { return Pairs(rows).all(); }

}  // namespace ragdot::bench
