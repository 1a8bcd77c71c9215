// Work items: which tile of which span of rows comes next. Items are tiles of nearly equal cost, so threads that take one after
// the other are balanced however skewed the groups are.
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
  std::int64_t first_item = 0;     // items of all spans before it
};

/// One tile of out.
struct Tile {
  std::int64_t span = 0;
  std::int64_t row = 0;  // first row, counted from the span's first (gmm) or in K (tgmm)
  std::int64_t col = 0;
};

[[nodiscard]] constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// Tile number `item` of spans whose out parts have `rows(span)` rows: row tiles run fastest, so that neighbours share weights.
[[nodiscard]] constexpr Tile locate(std::span<const Span> spans, std::int64_t item, std::int64_t out_rows_per_span,
                                    std::int64_t tile_rows, std::int64_t tile_cols) {
  std::int64_t low = 0;
  std::int64_t high = static_cast<std::int64_t>(spans.size());
  while (high - low > 1) {  // the last span that starts at or before the item; spans without items are passed over
    const std::int64_t middle = low + (high - low) / 2;
    (spans[static_cast<std::size_t>(middle)].first_item <= item ? low : high) = middle;
  }
  const Span& span = spans[static_cast<std::size_t>(low)];
  const std::int64_t rows = out_rows_per_span >= 0 ? out_rows_per_span : span.rows.size();
  const std::int64_t row_tiles = ceil_div(rows, tile_rows);
  std::int64_t within = item - span.first_item;
  if (fault::on(fault::Id::item_runs_for_its_neighbour)) within -= within % 2;
  return {low, within % row_tiles * tile_rows, within / row_tiles * tile_cols};
}

/// Fills first_item of every span and returns the number of items. `out_rows_per_span` as in locate: -1 for gmm.
[[nodiscard]] constexpr std::int64_t number_items(std::span<Span> spans, std::int64_t out_rows_per_span, std::int64_t out_cols,
                                                  std::int64_t tile_rows, std::int64_t tile_cols) {
  std::int64_t items = 0;
  for (Span& span : spans) {
    span.first_item = items;
    const std::int64_t rows = out_rows_per_span >= 0 ? out_rows_per_span : span.rows.size();
    std::int64_t col_tiles = ceil_div(out_cols, tile_cols);
    if (fault::on(fault::Id::last_column_tile_dropped) && col_tiles > 1) --col_tiles;
    items += ceil_div(rows, tile_rows) * col_tiles;
  }
  return items;
}

}  // namespace ragdot::schedule
