// Threads that take items one after the other end nearly together, whatever the group sizes.
#include "cpu/balance.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "cpu/tile_size.hpp"

namespace ragdot::cpu {
namespace {

using schedule::Span;

constexpr std::int64_t kInner = 1024;  // gmm's K, tgmm's K
constexpr std::int64_t kOuter = 512;

struct Groups {
  plan::Op op = plan::Op::gmm;
  int threads = 2;
  std::vector<std::int64_t> sizes;
};

Plan::Choice choice_for(const Groups& groups, const Kernel& kernel) {
  Plan::Choice choice;
  plan::Problem& p = choice.problem;
  p.op = groups.op;
  p.m = std::accumulate(groups.sizes.begin(), groups.sizes.end(), std::int64_t{0});
  p.k = kInner;
  p.n = kOuter;
  p.groups = p.local = static_cast<std::int64_t>(groups.sizes.size());
  p.lhs.values = p.rhs.values = Format::bf16;
  p.out = Format::f32;
  choice.threads = groups.threads;
  choice.effective = effective_tile(p, kernel, {}, groups.threads);
  return choice;
}

/// Balances the groups' spans for a call of that choice.
void balance(std::span<Span> spans, const Plan::Choice& choice, const Kernel& kernel) {
  Call call;
  call.kernel = &kernel;
  call.op = choice.problem.op;
  call.tile = choice.effective;
  call.out.rows = kInner;
  call.out.cols = kOuter;
  cpu::balance(spans, call, choice);
}

std::vector<Span> spans_of(const Groups& groups) {
  std::vector<Span> spans;
  std::int64_t row = 0;
  for (const std::int64_t size : groups.sizes) {
    spans.push_back({{row, row + size}, static_cast<std::int64_t>(spans.size())});
    row += size;
  }
  return spans;
}

/// Work of the busiest thread over the mean, when each takes the next item as soon as it has none; few rows count as kFewRows.
double imbalance(const Groups& groups, const Plan::Choice& choice, std::vector<Span> spans) {
  const std::int64_t rows_per_span = groups.op == plan::Op::gmm ? -1 : choice.problem.k;
  const std::int64_t items = schedule::number_items(spans, rows_per_span, kOuter);
  std::vector<double> busy(static_cast<std::size_t>(groups.threads));
  for (std::int64_t i = 0; i < items; ++i) {
    const schedule::Tile tile = schedule::locate(spans, i, rows_per_span);
    const Span& span = spans[static_cast<std::size_t>(tile.span)];
    const std::int64_t rows = std::min(span.tile_rows, schedule::out_rows(span, rows_per_span) - tile.row);
    const std::int64_t cols = std::min(span.tile_cols, kOuter - tile.col);
    const std::int64_t depth = groups.op == plan::Op::gmm ? kInner : std::max(span.rows.size(), kFewRows);
    if (span.rows.size() > 0) *std::ranges::min_element(busy) += static_cast<double>(std::max(rows, kFewRows) * cols * depth);
  }
  return *std::ranges::max_element(busy) * groups.threads / std::accumulate(busy.begin(), busy.end(), 0.0);
}

TEST(Balance, ThreadsEndTogetherHoweverSkewedTheGroups) {
  const std::vector<std::vector<std::int64_t>> skewed = {
      {0, 0, 0, 2048, 0, 0, 0, 0}, {0, 0, 1500, 0},        {100, 100, 100, 1400}, {614, 286, 183, 133, 104, 85, 71, 61, 54, 48},
      {1040, 1, 1, 1, 1, 1, 1, 1}, {300, 700, 500, 20, 9}, {3000, 10, 2000, 4}};
  for (const Kernel* kernel : listed_kernels()) {
    for (const plan::Op op : {plan::Op::gmm, plan::Op::tgmm}) {
      for (const int threads : {2, 3, 8}) {
        for (const auto& sizes : skewed) {
          const Groups groups{op, threads, sizes};
          const Plan::Choice choice = choice_for(groups, *kernel);
          std::vector<Span> spans = spans_of(groups);
          balance(spans, choice, *kernel);
          EXPECT_LT(imbalance(groups, choice, spans), 1.15)
              << kernel->name << (op == plan::Op::gmm ? " gmm " : " tgmm ") << threads << " threads, first group of "
              << sizes.front() << " rows";
        }
      }
    }
  }
}

TEST(Balance, AFewLongReductionsComeFirst) {
  const Groups groups{plan::Op::tgmm, 2, {5, 0, 300, 20}};
  std::vector<Span> spans = spans_of(groups);
  const Kernel& kernel = *listed_kernels().back();
  balance(spans, choice_for(groups, kernel), kernel);
  std::vector<std::int64_t> rows;
  for (const Span& span : spans) rows.push_back(span.rows.size());
  EXPECT_EQ(rows, (std::vector<std::int64_t>{300, 20, 5, 0}));
}

TEST(Balance, TilesThatWereAskedForAndOneThreadAreLeftAlone) {
  for (const Kernel* kernel : listed_kernels()) {
    for (const int threads : {1, 2}) {
      const Groups groups{plan::Op::gmm, threads, {0, 1500, 0}};
      Plan::Choice choice = choice_for(groups, *kernel);
      if (threads > 1) choice.asked = choice.effective;
      std::vector<Span> spans = spans_of(groups);
      balance(spans, choice, *kernel);
      for (const Span& span : spans) {
        EXPECT_EQ(span.tile_rows, choice.effective.tm) << kernel->name;
        EXPECT_EQ(span.tile_cols, choice.effective.tn) << kernel->name;
      }
    }
  }
}

}  // namespace
}  // namespace ragdot::cpu
