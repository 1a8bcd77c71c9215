// Work items: which tile of which span of rows comes next. A span has a tile size of its own, so that large groups can be cut
// into more items.
#pragma once

#include <cstdint>
#include <span>

#include "format/fault.hpp"
#include "schedule/rows.hpp"

namespace ragdot::schedule {

/// Rows with the same weights, or rows of gmm's out that belong to no local group (matrix -1).
struct Span {
  RowRange rows;
  std::int64_t matrix = -1;        // local group
  std::int64_t scale_row = 0;      // first scale row of the group under a per_group grid of the lhs
  std::int64_t scale_row_rhs = 0;  // the same for tgmm's rhs
  std::int64_t tile_rows = 1;      // of its items, in its part of out
  std::int64_t tile_cols = 1;
  std::int64_t first_item = 0;  // items of all spans before it
};

/// One tile of out.
struct Tile {
  std::int64_t span = 0;
  std::int64_t row = 0;  // first row, counted from the span's first (gmm) or in K (tgmm)
  std::int64_t col = 0;
};

[[nodiscard]] constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// Rows of a span's part of out; `out_rows_per_span`: those of every span, -1: the rows that it is of.
[[nodiscard]] constexpr std::int64_t out_rows(const Span& span, std::int64_t out_rows_per_span) {
  return out_rows_per_span >= 0 ? out_rows_per_span : span.rows.size();
}

/// Items of a span whose tiles have their size.
[[nodiscard]] constexpr std::int64_t items_of(const Span& span, std::int64_t out_rows_per_span, std::int64_t out_cols) {
  std::int64_t col_tiles = ceil_div(out_cols, span.tile_cols);
  if (fault::on(fault::Id::last_column_tile_dropped) && col_tiles > 1) --col_tiles;
  return ceil_div(out_rows(span, out_rows_per_span), span.tile_rows) * col_tiles;
}

/// Item number `item`: row tiles run fastest, so that neighbours share weights.
[[nodiscard]] constexpr Tile locate(std::span<const Span> spans, std::int64_t item, std::int64_t out_rows_per_span) {
  std::int64_t low = 0;
  std::int64_t high = static_cast<std::int64_t>(spans.size());
  while (high - low > 1) {  // the last span that starts at or before the item; spans without items are passed over
    const std::int64_t middle = low + (high - low) / 2;
    (spans[static_cast<std::size_t>(middle)].first_item <= item ? low : high) = middle;
  }
  const Span& span = spans[static_cast<std::size_t>(low)];
  const std::int64_t row_tiles = ceil_div(out_rows(span, out_rows_per_span), span.tile_rows);
  std::int64_t within = item - span.first_item;
  if (fault::on(fault::Id::item_runs_for_its_neighbour)) within -= within % 2;
  return {low, within % row_tiles * span.tile_rows, within / row_tiles * span.tile_cols};
}

/// Fills first_item of every span and returns the number of items.
[[nodiscard]] constexpr std::int64_t number_items(std::span<Span> spans, std::int64_t out_rows_per_span,
                                                  std::int64_t out_cols) {
  std::int64_t items = 0;
  for (Span& span : spans) {
    span.first_item = items;
    items += items_of(span, out_rows_per_span, out_cols);
  }
  return items;
}

}  // namespace ragdot::schedule
