// Turns operands into Sides: which axis is reduced, where the group's rows and scale blocks start.
#include "cpu/side.hpp"

#include <utility>

namespace ragdot::cpu {
namespace {

using fault::Id;
using schedule::AxisGrid;

/// The element `elements` behind `data`. Null stays null: a view without elements may have no memory, and nothing is read
/// there.
const std::byte* element_at(const void* data, std::int64_t elements, Format format) {
  return data == nullptr ? nullptr : static_cast<const std::byte*>(data) + elements * element_bytes(format);
}

/// The side with rows as outer axis; grids still those of a whole matrix.
Side rows_as_outer(const Operand& operand, std::int64_t matrix, std::int64_t first_row) {
  Side side;
  const ConstView& v = operand.values;
  side.format = v.format;
  side.outer_stride = v.row_stride;
  side.depth_stride = v.col_stride;
  side.values = element_at(v.data, matrix * v.batch_stride + first_row * v.row_stride, v.format);
  if (!operand.scales.present()) return side;
  const ConstView& s = operand.scales.view;
  side.scale_format = s.format;
  side.scale_outer_stride = s.row_stride;
  side.scale_depth_stride = s.col_stride;
  side.scales = element_at(s.data, matrix * s.batch_stride, s.format);
  side.outer_grid = {operand.scales.block_rows, 0, 0};
  side.depth_grid = {operand.scales.block_cols, 0, 0};
  return side;
}

Side exchanged(Side side) {
  std::swap(side.outer_stride, side.depth_stride);
  std::swap(side.scale_outer_stride, side.scale_depth_stride);
  std::swap(side.outer_grid, side.depth_grid);
  return side;
}

AxisGrid row_grid(const Scales& scales, std::int64_t first_row, std::int64_t scale_row) {
  AxisGrid grid = scales.origin == ScaleOrigin::per_group
                      ? schedule::group_grid(scales.block_rows, fault::on(Id::per_group_base_dropped) ? 0 : scale_row)
                      : schedule::global_grid(scales.block_rows, first_row);
  if (fault::on(Id::phase_dropped)) grid.phase = 0;
  return grid;
}

}  // namespace

Arithmetic arithmetic_of(const Side& lhs, const Side& rhs) {
  const auto is_fp8 = [](const Side& s) { return (s.format == Format::e4m3 || s.format == Format::e5m2) && !s.folds(); };
  if (lhs.format == Format::i8) return Arithmetic::i8;
  if (lhs.format == Format::f32) return Arithmetic::f32;
  return is_fp8(lhs) && is_fp8(rhs) ? Arithmetic::fp8 : Arithmetic::wide;
}

Arithmetic arithmetic_of(const plan::Problem& problem) {
  const auto side_of = [](const plan::OperandShape& shape) {
    Side side;
    side.format = shape.values;
    side.scale_format = shape.scales;
    return side;
  };
  return arithmetic_of(side_of(problem.lhs), side_of(problem.rhs));
}

Side rows_outer(const Operand& operand, const schedule::Span& span) {
  Side side = rows_as_outer(operand, 0, span.rows.begin);
  if (operand.scales.present()) side.outer_grid = row_grid(operand.scales, span.rows.begin, span.scale_row);
  return side;
}

Side rows_reduced(const Operand& operand, const schedule::Span& span, std::int64_t scale_row) {
  Side side = rows_as_outer(operand, 0, span.rows.begin);
  if (operand.scales.present()) side.outer_grid = row_grid(operand.scales, span.rows.begin, scale_row);
  return exchanged(side);
}

Side weights(const Operand& operand, std::int64_t matrix, RhsLayout layout) {
  if (fault::on(Id::weights_of_previous_group) && matrix > 0) --matrix;
  Side side = exchanged(rows_as_outer(operand, matrix, 0));
  if (layout == RhsLayout::packed) {
    const ConstView& v = operand.values;
    std::int64_t blocks = schedule::ceil_div(v.cols, kPackedCols);
    if (fault::on(Id::packed_matrices_overlap)) blocks = v.cols / kPackedCols;
    side.block_stride = kPackedCols * v.rows;
    side.outer_stride = 1;
    side.depth_stride = kPackedCols;
    side.values = static_cast<const std::byte*>(v.data) + matrix * blocks * side.block_stride * element_bytes(v.format);
  }
  if (fault::on(Id::scale_of_wrong_group) && matrix > 0 && operand.scales.present()) {
    side.scales -= operand.scales.view.batch_stride * element_bytes(side.scale_format);
  }
  return side;
}

}  // namespace ragdot::cpu
