// Elements are brought together where they are not contiguous, so that all strides share the routines.
#include "cpu/quantize/source.hpp"

#include <algorithm>
#include <bit>

#include "cpu/quantize/strided.hpp"
#include "format/fault.hpp"
#include "format/memory.hpp"
#include "schedule/items.hpp"
#include "schedule/segments.hpp"

namespace ragdot::cpu {
namespace {

/// Scales that are subnormal f32 or bf16 count as zero.
float scale_as_read(const std::byte* at, Format format) {
  const float scale = format::load_f32(at, format);
  const bool subnormal = (std::bit_cast<std::uint32_t>(scale) & format::kF32Exponent) == 0;
  return subnormal && format != Format::e8m0 ? 0.0F : scale;
}

/// How many rows are gathered at once. A column's elements share cache lines, which one row alone would fetch for one element
/// each; where columns are a power of two apart, the caches do not keep these lines until the next row wants them.
constexpr std::int64_t kGatheredRows = 32;

bool read_in_place(const Operand& input) { return input.values.format == Format::f32 || input.values.format == Format::bf16; }

}  // namespace

RowReader::RowReader(const Operand& input, const Routines& routines, std::int64_t most_cols)
    : input_(input), routines_(routines), row_(read_in_place(input) ? 0 : static_cast<std::size_t>(most_cols)) {
  const ConstView& v = input.values;
  if (v.col_stride != 1) {
    pitch_bytes_ = most_cols * element_bytes(v.format) + 64;  // a line more, so that rows do not meet in one set of a cache
    gathered_.resize(static_cast<std::size_t>(std::min(kGatheredRows, v.rows) * pitch_bytes_));
  }
  if (!input.scales.present()) return;
  const std::int64_t block = input.scales.block_cols;
  scales_.resize(static_cast<std::size_t>(block == kWholeAxis ? 1 : schedule::ceil_div(most_cols, block)));
}

const float* RowReader::read_scales(const Stretch& stretch, std::int64_t row, const ColRange& cols) {
  const Scales& s = input_.scales;
  const schedule::AxisGrid grid = s.origin == ScaleOrigin::per_group
                                      ? schedule::group_grid(s.block_rows, stretch.input_scale_row)
                                      : schedule::global_grid(s.block_rows, stretch.group_begin);
  const std::int64_t first = s.block_cols == kWholeAxis ? 0 : cols.begin / s.block_cols;
  const ConstView& v = s.view;
  const std::int64_t scale_row = grid.index(fault::on(fault::Id::input_scales_of_first_row) ? 0 : row - stretch.group_begin);
  const std::byte* from = format::element_at(v, stretch.matrix, scale_row, first);
  if (from == scales_from_) return scales_.data();
  const std::int64_t count = s.block_cols == kWholeAxis ? 1 : schedule::ceil_div(cols.size(), s.block_cols);
  for (std::int64_t i = 0; i < count; ++i)
    scales_[static_cast<std::size_t>(i)] = scale_as_read(from + i * v.col_stride * element_bytes(v.format), v.format);
  scales_from_ = from;
  return scales_.data();
}

std::int64_t RowReader::ahead(const ColRange& cols) const {
  // Tens of elements for each nanosecond that memory takes to answer: a long row is asked for from itself, a short one by the
  // row before it.
  constexpr std::int64_t kAheadBytes = 2048;
  const ConstView& v = input_.values;
  if (v.col_stride != 1) return 0;
  const std::int64_t bytes = element_bytes(v.format);
  return cols.size() * bytes >= 2 * kAheadBytes ? kAheadBytes : v.row_stride * bytes;
}

const std::byte* RowReader::address(const Place& place) const {
  return format::element_at(input_.values, place.matrix, place.row, place.col);
}

void RowReader::gather(const Stretch& stretch, std::int64_t row, const ColRange& cols) {
  const ConstView& v = input_.values;
  const std::int64_t bytes = element_bytes(v.format);
  gathered_matrix_ = stretch.matrix;
  gathered_rows_ = {row, std::min(row + kGatheredRows, stretch.rows.end)};
  gathered_cols_ = cols;
  const std::byte* from = address({stretch.matrix, row, cols.begin});
  for (std::int64_t col = 0; col < cols.size(); ++col) {
    move_elements(bytes, gathered_rows_.size(), {from + col * v.col_stride * bytes, v.row_stride * bytes},
                  {gathered_.data() + col * bytes, pitch_bytes_});
  }
}

const std::byte* RowReader::elements(const Stretch& stretch, std::int64_t row, const ColRange& cols) {
  if (input_.values.col_stride == 1) return address({stretch.matrix, row, cols.begin});
  const bool there = stretch.matrix == gathered_matrix_ && row >= gathered_rows_.begin && row < gathered_rows_.end &&
                     cols.begin == gathered_cols_.begin && cols.end == gathered_cols_.end;
  if (!there) gather(stretch, row, cols);
  return gathered_.data() + (row - gathered_rows_.begin) * pitch_bytes_;
}

SourceRow RowReader::read(const Stretch& stretch, std::int64_t row, const ColRange& cols) {
  if (read_in_place(input_)) return {input_.values.format, elements(stretch, row, cols), cols.size(), ahead(cols)};
  auto* values = reinterpret_cast<std::byte*>(row_.data());
  convert(stretch, row, cols, Format::f32, values);
  return {Format::f32, values, cols.size()};
}

std::int64_t RowReader::distance(const Place& from, const Place& to) const { return address(to) - address(from); }

void RowReader::convert(const Stretch& stretch, std::int64_t row, const ColRange& cols, Format to, std::byte* out) {
  BlockFactors scales;
  if (input_.scales.present()) scales = {read_scales(stretch, row, cols), input_.scales.block_cols};
  routines_.convert({input_.values.format, elements(stretch, row, cols), cols.size(), scales, to, ahead(cols)}, out);
}

}  // namespace ragdot::cpu
