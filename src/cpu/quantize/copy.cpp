// Blocks along a row are runs of columns; blocks of one column get loops of their own, which compilers vectorise.
#include "cpu/quantize/copy.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "cpu/quantize/recipe.hpp"
#include "format/memory.hpp"

namespace ragdot::cpu {
namespace {

using schedule::AxisGrid;

std::byte* at(const View& v, std::int64_t b, std::int64_t r, std::int64_t c) {
  return static_cast<std::byte*>(v.data) + (b * v.batch_stride + r * v.row_stride + c * v.col_stride) * element_bytes(v.format);
}

/// Calls f(block, first column, end column) for the column blocks of a copy.
template <class F>
void for_column_blocks(const QuantizedOut& out, std::int64_t cols, F f) {
  const AxisGrid grid{out.scales.block_cols, 0, 0};
  for (std::int64_t c = 0; c < cols;) {
    const std::int64_t end = std::min(grid.next_cut(c), cols);
    f(grid.index(c), c, end);
    c = end;
  }
}

/// Bits of |x|, 0 for NaN and Inf.
std::int32_t finite_magnitude(float x) {
  const auto magnitude = static_cast<std::int32_t>(std::bit_cast<std::uint32_t>(x) & 0x7fffffffU);
  return magnitude < static_cast<std::int32_t>(format::kF32Exponent) ? magnitude : 0;
}

bool contiguous_columns(const View& v) { return v.col_stride == 1 || v.cols <= 1; }

/// A cache line more than the columns need, so that rows of a power of two do not fall on the same lines.
std::int64_t tile_pitch(const View& v) { return v.cols + 64; }

}  // namespace

BlockRows block_rows(const Stretch& stretch, const QuantizedOut& out, std::size_t copy, const RowRange& rows) {
  const AxisGrid grid = schedule::group_grid(out.scales.block_rows, stretch.scale_row[copy]);
  const std::int64_t first = grid.index(rows.begin - stretch.group_begin);
  return {grid, first, grid.index(rows.end - 1 - stretch.group_begin) - first + 1};
}

void CopyScratch::allocate(const QuantizedOut& out, std::int64_t most) {
  amax.resize(static_cast<std::size_t>(most * out.scales.view.cols));
  scales.resize(amax.size());
  factors.resize(static_cast<std::size_t>(out.values.cols));
  if (!contiguous_columns(out.values)) tile.resize(static_cast<std::size_t>(kTileRows * tile_pitch(out.values)));
}

void measure(const QuantizedOut& out, std::span<const float> row, std::uint32_t* amax) {
  const float* x = row.data();
  const auto cols = static_cast<std::int64_t>(row.size());
  if (out.scales.block_cols == 1) {
    for (std::int64_t c = 0; c < cols; ++c) {
      const auto magnitude = static_cast<std::uint32_t>(finite_magnitude(x[c]));
      amax[c] = magnitude > amax[c] ? magnitude : amax[c];
    }
    return;
  }
  for_column_blocks(out, cols, [&](std::int64_t block, std::int64_t c, std::int64_t end) {
    auto most = static_cast<std::int32_t>(amax[block]);
    for (; c < end; ++c) most = std::max(most, finite_magnitude(x[c]));
    amax[block] = static_cast<std::uint32_t>(most);
  });
}

void choose_scales(const QuantizedOut& out, std::int64_t matrix, const BlockRows& rows, const std::uint32_t* amax,
                   float* scales) {
  const View& v = out.scales.view;
  for (std::int64_t r = 0; r < rows.count; ++r) {
    for (std::int64_t c = 0; c < v.cols; ++c) {
      const std::int64_t i = r * v.cols + c;
      std::byte* place = at(v, matrix, rows.first + r, c);
      if (out.recipe == Recipe::fixed) {
        scales[i] = format::load_f32(place, v.format);
      } else {
        scales[i] = block_scale(out.recipe, out.values.format, v.format, amax[i]);
        store_scale(v.format, scales[i], place);
      }
    }
  }
}

void encode_row(const QuantizedOut& out, std::int64_t matrix, std::int64_t row, const float* scales, std::int64_t scale_row,
                std::span<const float> x, CopyScratch& scratch) {
  const View& v = out.values;
  if (scratch.factors_row != scale_row) {
    for_column_blocks(out, v.cols, [&](std::int64_t block, std::int64_t c, std::int64_t end) {
      const float factor = factor_of(out.recipe, scales[block]);
      for (; c < end; ++c) scratch.factors[static_cast<std::size_t>(c)] = factor;
    });
    scratch.factors_row = scale_row;
  }
  if (contiguous_columns(v)) return encode(out.recipe, v.format, scratch.factors.data(), x, at(v, matrix, row, 0));
  if (scratch.tile_rows == 0) scratch.tile_row = row;
  encode(out.recipe, v.format, scratch.factors.data(), x, scratch.tile.data() + scratch.tile_rows * tile_pitch(v));
  if (++scratch.tile_rows == kTileRows) flush(out, matrix, scratch);
}

void flush(const QuantizedOut& out, std::int64_t matrix, CopyScratch& scratch) {
  const View& v = out.values;
  const std::int64_t rows = scratch.tile_rows;
  const std::int64_t pitch = tile_pitch(v);
  // Down the columns: a transposed copy has its rows next to each other.
  for (std::int64_t c = 0; rows > 0 && c < v.cols; ++c) {
    const std::byte* from = scratch.tile.data() + c;
    std::byte* to = at(v, matrix, scratch.tile_row, c);
    for (std::int64_t r = 0; r < rows; ++r) to[r * v.row_stride] = from[r * pitch];
  }
  scratch.tile_rows = 0;
}

void zero_rows(const View& out, std::int64_t matrix, const RowRange& rows) {
  const auto bytes = static_cast<std::size_t>(element_bytes(out.format));
  if (contiguous_columns(out)) {
    for (std::int64_t r = rows.begin; r < rows.end; ++r)
      std::memset(at(out, matrix, r, 0), 0, static_cast<std::size_t>(out.cols) * bytes);
    return;
  }
  for (std::int64_t c = 0; c < out.cols; ++c) {
    for (std::int64_t r = rows.begin; r < rows.end; ++r) std::memset(at(out, matrix, r, c), 0, bytes);
  }
}

void fill_unused_scales(const QuantizedOut& out, const ConstView& input, const std::optional<std::vector<RowRange>>& groups) {
  if (out.recipe == Recipe::fixed) return;
  const View& v = out.scales.view;
  const auto fill_row = [&](std::int64_t b, std::int64_t r) {
    for (std::int64_t c = 0; c < v.cols; ++c) store_scale(v.format, 1.0F, at(v, b, r, c));
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
