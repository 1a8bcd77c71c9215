// From an item's number to the operands and the part of out that it covers.
#include "cpu/item.hpp"

#include <algorithm>
#include <cstring>

#include "format/fault.hpp"
#include "format/memory.hpp"

namespace ragdot::cpu {

using fault::Id;
using schedule::Span;

Item item_of(const Call& call, std::int64_t number) {
  const schedule::Tile tile = schedule::locate(call.spans, number, call.out_rows_per_span());
  const Span& span = call.spans[static_cast<std::size_t>(tile.span)];
  Item item;
  item.matrix = span.matrix;
  item.row = tile.row;
  item.col = tile.col;
  const bool is_gmm = call.op == plan::Op::gmm;
  item.rows = std::min(span.tile_rows, schedule::out_rows(span, call.out_rows_per_span()) - tile.row);
  item.cols = std::min(span.tile_cols, call.out.cols - tile.col);
  const std::int64_t out_row = is_gmm ? span.rows.begin + tile.row : tile.row;
  const std::int64_t out_matrix = is_gmm ? 0 : span.matrix;
  item.out = format::element_at(call.out, out_matrix, out_row, tile.col);
  if (span.matrix < 0) return item;
  item.depth = is_gmm ? call.depth : span.rows.size();
  if (is_gmm) {
    item.lhs = rows_outer(call.lhs, span);
    item.rhs = weights(call.rhs, span.matrix, call.rhs_layout);
  } else {
    item.lhs = rows_reduced(call.lhs, span, span.scale_row);
    item.rhs = rows_reduced(call.rhs, span, fault::on(Id::rhs_scale_rows_of_lhs) ? span.scale_row : span.scale_row_rhs);
  }
  if (fault::on(Id::last_depth_element_dropped) && item.depth > 1) --item.depth;
  return item;
}

void zero_rows(const Call& call, const Item& item) {
  const std::int64_t bytes = element_bytes(call.out.format);
  for (std::int64_t r = 0; r < item.rows; ++r) {
    std::byte* row = item.out + r * call.out.row_stride * bytes;
    if (call.out.col_stride == 1) {
      std::memset(row, 0, static_cast<std::size_t>(item.cols * bytes));
      continue;
    }
    for (std::int64_t c = 0; c < item.cols; ++c) {
      std::memset(row + c * call.out.col_stride * bytes, 0, static_cast<std::size_t>(bytes));
    }
  }
}

}  // namespace ragdot::cpu
