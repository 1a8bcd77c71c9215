// Blocks along a row are runs of columns; rows whose columns lie apart are collected into tiles and written down the columns.
#include "cpu/quantize/copy.hpp"

#include <cstring>

#include "cpu/quantize/recipe.hpp"
#include "format/memory.hpp"
#include "schedule/items.hpp"

namespace ragdot::cpu {
namespace {

bool contiguous_columns(const View& v) { return v.col_stride == 1 || v.cols <= 1; }

}  // namespace

BlockRange block_range(const Stretch& stretch, const QuantizedOut& out, std::size_t copy, const RowRange& rows,
                       const ColRange& cols) {
  const schedule::AxisGrid grid = schedule::group_grid(out.scales.block_rows, stretch.scale_row[copy]);
  const std::int64_t first = grid.index(rows.begin - stretch.group_begin);
  const std::int64_t last = grid.index(rows.end - 1 - stretch.group_begin);
  const std::int64_t block = out.scales.block_cols;
  if (block == kWholeAxis) return {grid, first, last - first + 1, 0, 1};
  return {grid, first, last - first + 1, cols.begin / block, schedule::ceil_div(cols.size(), block)};
}

void choose_scales(const QuantizedOut& out, std::int64_t matrix, const BlockRange& blocks, const std::uint32_t* amax,
                   float* factors) {
  for (std::int64_t i = 0; i < blocks.count(); ++i)
    factors[i] = block_scale(out.recipe, out.values.format, out.scales.view.format, amax[i]);
  store_scales(out, matrix, blocks, factors);
  for (std::int64_t i = 0; i < blocks.count(); ++i) factors[i] = factor_of(out.recipe, factors[i]);
}

void read_scales(const QuantizedOut& out, std::int64_t matrix, const BlockRange& blocks, float* factors) {
  const View& v = out.scales.view;
  for (std::int64_t r = 0; r < blocks.rows; ++r) {
    const std::byte* from = format::element_at(v, matrix, blocks.first_row + r, blocks.first_col);
    const std::int64_t step = v.col_stride * element_bytes(v.format);
    for (std::int64_t c = 0; c < blocks.cols; ++c) *factors++ = format::load_f32(from + c * step, v.format);
  }
}

void store_scales(const QuantizedOut& out, std::int64_t matrix, const BlockRange& blocks, const float* scales) {
  const View& v = out.scales.view;
  for (std::int64_t r = 0; r < blocks.rows; ++r) {
    std::byte* to = format::element_at(v, matrix, blocks.first_row + r, blocks.first_col);
    const std::int64_t step = v.col_stride * element_bytes(v.format);
    for (std::int64_t c = 0; c < blocks.cols; ++c) store_scale(v.format, *scales++, to + c * step);
  }
}

CopyWriter::CopyWriter(const QuantizedOut& out, const Routines& routines, std::int64_t most_cols)
    // A cache line more than the columns need, so that rows of a power of two do not fall on the same lines.
    : out_(out), routines_(routines), pitch_(most_cols + 64) {
  // A transposed copy gets a line here and a line there; to fetch each before it is overwritten would cost most of the time.
  stores_ = stores_for(out.values.batch * out.values.rows * out.values.cols);
  if (!contiguous_columns(out.values)) tile_.resize(static_cast<std::size_t>(kTileRows * pitch_));
}

std::byte* CopyWriter::place(std::int64_t matrix, std::int64_t row, const ColRange& cols) {
  if (contiguous_columns(out_.values)) return format::element_at(out_.values, matrix, row, cols.begin);
  if (tile_rows_ == 0) tile_row_ = row;
  return tile_.data() + tile_rows_ * pitch_;
}

void CopyWriter::written(std::int64_t matrix, const ColRange& cols) {
  if (!contiguous_columns(out_.values) && ++tile_rows_ == kTileRows) flush(matrix, cols);
}

void CopyWriter::flush(std::int64_t matrix, const ColRange& cols) {
  const View& v = out_.values;
  if (tile_rows_ == 0) return;
  routines_.write_tile({tile_.data(), pitch_, tile_rows_, cols.size()},
                       {format::element_at(v, matrix, tile_row_, cols.begin), v.row_stride, v.col_stride, stores_});
  tile_rows_ = 0;
}

void zero_rows(const View& out, std::int64_t matrix, const RowRange& rows) {
  const auto bytes = static_cast<std::size_t>(element_bytes(out.format));
  if (contiguous_columns(out)) {
    for (std::int64_t r = rows.begin; r < rows.end; ++r)
      std::memset(format::element_at(out, matrix, r, 0), 0, static_cast<std::size_t>(out.cols) * bytes);
    return;
  }
  for (std::int64_t c = 0; c < out.cols; ++c) {
    for (std::int64_t r = rows.begin; r < rows.end; ++r) std::memset(format::element_at(out, matrix, r, c), 0, bytes);
  }
}

void fill_unused_scales(const QuantizedOut& out, const ConstView& input, const std::optional<std::vector<RowRange>>& groups) {
  if (out.recipe == Recipe::fixed) return;
  const View& v = out.scales.view;
  const auto fill_row = [&](std::int64_t b, std::int64_t r) {
    for (std::int64_t c = 0; c < v.cols; ++c) store_scale(v.format, 1.0F, format::element_at(v, b, r, c));
  };
  if (input.rows == 0 || input.cols == 0) {
    if (v.rows == 0 || v.cols == 0) return;
    for (std::int64_t b = 0; b < v.batch; ++b) {
      for (std::int64_t r = 0; r < v.rows; ++r) fill_row(b, r);
    }
    return;
  }
  if (!groups || out.scales.block_rows != kWholeAxis) return;  // every other block has rows
  for (std::size_t g = 0; g < groups->size(); ++g) {
    if ((*groups)[g].size() == 0) fill_row(0, static_cast<std::int64_t>(g));
  }
}

}  // namespace ragdot::cpu
