// A group with more than its share of the rows is cut into more items; threads take long ones first, so that none ends on one
// alone.
#include "cpu/balance.hpp"

#include <algorithm>

#include "cpu/tile_size.hpp"

namespace ragdot::cpu {
namespace {

using schedule::ceil_div;
using schedule::Span;

/// Rows to multiply: those of gmm's groups, or tgmm's reduction. Zeros come last and cost next to nothing.
std::int64_t rows_of(const Span& span) { return span.matrix >= 0 ? span.rows.size() : 0; }

/// In rows. Of few rows reading weights, or writing out, is the cost.
std::int64_t cost(const Span& span) { return rows_of(span) > 0 ? std::max(rows_of(span), kFewRows) : 0; }

/// Row tiles of nearly equal size: 1040 rows are not 1024 and 16.
std::int64_t even_rows(std::int64_t rows, std::int64_t tile_rows, std::int64_t block_rows) {
  return padded(ceil_div(rows, ceil_div(rows, tile_rows)), block_rows);
}

}  // namespace

void balance(std::span<Span> spans, const Call& call, const Plan::Choice& choice) {
  const bool cuts = choice.threads > 1 && !choice.asked;
  std::int64_t total = 0;
  for (const Span& span : spans) total += cost(span);
  const std::int64_t share = ceil_div(total, kItemsPerThread * choice.threads);
  for (Span& span : spans) {
    Tiling tile = call.tile;
    span.tile_rows = tile.tm;
    span.tile_cols = tile.tn;
    if (!cuts || cost(span) == 0) continue;
    const std::int64_t wanted = ceil_div(cost(span), share);
    while (schedule::items_of(span, call.out_rows_per_span(), call.out.cols) < wanted && halve(tile, *call.kernel)) {
      span.tile_rows = tile.tm;
      span.tile_cols = tile.tn;
    }
    if (call.op == plan::Op::gmm) span.tile_rows = even_rows(span.rows.size(), span.tile_rows, call.kernel->block_rows);
  }
  if (choice.threads == 1) return;
  std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) {
    return rows_of(a) != rows_of(b) ? rows_of(a) > rows_of(b) : a.rows.begin < b.rows.begin;
  });
}

}  // namespace ragdot::cpu
