// Formats and scale grids of an operand.
#include "api/validate_operand.hpp"

#include <fmt/format.h>

#include "format/fault.hpp"
#include "schedule/segments.hpp"

namespace ragdot::api {
namespace {

bool is_quantised(Format f) { return f == Format::e4m3 || f == Format::e5m2 || f == Format::i8; }

std::string block_text(const Scales& s) {
  const auto axis = [](std::int64_t block) { return block == kWholeAxis ? std::string("*") : fmt::format("{}", block); };
  return fmt::format("{}x{}", axis(s.block_rows), axis(s.block_cols));
}

Status check_grid(const NamedOperand& n, RowAxis row_axis) {
  const Scales& s = n.operand.scales;
  if (s.block_rows < 1 || s.block_cols < 1) {
    return {Code::invalid_argument,
            fmt::format("{}: {} have block {}; a block is 1 or more, kWholeAxis (in C RAGDOT_WHOLE_AXIS) for the whole axis",
                        n.op, n.scales, block_text(s))};
  }
  const auto origin = static_cast<std::int32_t>(s.origin);
  if (origin < 0 || origin > static_cast<std::int32_t>(ScaleOrigin::per_group)) {
    return {Code::invalid_argument,
            fmt::format("{}: {} have origin {}; it must be 0 (global) or 1 (per_group)", n.op, n.scales, origin)};
  }
  if (s.origin == ScaleOrigin::per_group && row_axis == RowAxis::plain) {
    return {Code::invalid_argument,
            fmt::format("{}: {} have origin per_group, but no groups lie along the rows of {}; use origin global", n.op,
                        n.scales, n.what)};
  }
  return {};
}

Status check_extents(const NamedOperand& n) {
  const ConstView& values = n.operand.values;
  const Scales& s = n.operand.scales;
  ConstView needed = values;
  needed.rows = schedule::group_scale_rows(values.rows, s.block_rows);
  needed.cols = schedule::group_scale_rows(values.cols, s.block_cols);
  const bool rows_known = s.origin == ScaleOrigin::global;
  if (s.view.batch == needed.batch && (s.view.cols == needed.cols || fault::on(fault::Id::scale_columns_unchecked)) &&
      (!rows_known || s.view.rows == needed.rows))
    return {};
  const std::string expected = rows_known ? shape_text(needed, n.rank) : fmt::format("{} columns", needed.cols);
  return {Code::invalid_argument,
          fmt::format("{}: {} are {}; {} {} with block {} needs {}", n.op, n.scales, shape_text(s.view, n.rank), n.what,
                      shape_text(values, n.rank), block_text(s), expected)};
}

Status check_scales(const NamedOperand& n, RowAxis row_axis) {
  const Scales& s = n.operand.scales;
  if (!s.present()) return {};
  if (!is_quantised(n.operand.values.format)) {
    return {Code::invalid_argument,
            fmt::format("{}: {} is {} and has scales; scales belong to e4m3, e5m2 and i8, leave them out", n.op, n.what,
                        name(n.operand.values.format))};
  }
  if (Status status = check_view(n.scales_subject(), s.view, n.rank); !status.ok()) return status;
  if (s.view.format != Format::f32 && s.view.format != Format::bf16 && s.view.format != Format::e8m0) {
    return {Code::invalid_argument,
            fmt::format("{}: {} are {}; they must be f32, bf16 or e8m0", n.op, n.scales, name(s.view.format))};
  }
  if (Status status = check_grid(n, row_axis); !status.ok()) return status;
  return check_extents(n);
}

}  // namespace

Status check_operand(const NamedOperand& n, RowAxis row_axis) {
  const ConstView& values = n.operand.values;
  if (Status s = check_view(n.values_subject(), values, n.rank); !s.ok()) return s;
  if (Status s = check_contiguous(n.values_subject(), values, n.rank); !s.ok()) return s;
  return check_scales(n, row_axis);
}

Status check_strided_operand(const NamedOperand& n, RowAxis row_axis) {
  if (Status s = check_view(n.values_subject(), n.operand.values, n.rank); !s.ok()) return s;
  return check_scales(n, row_axis);
}

Status check_pair(const char* op, Format lhs, Format rhs) {
  const auto is_narrow = [](Format f) { return f == Format::bf16 || f == Format::e4m3 || f == Format::e5m2; };
  if (is_narrow(lhs) && is_narrow(rhs)) return {};
  if (lhs == rhs && (lhs == Format::f32 || lhs == Format::i8)) return {};
  return {Code::unsupported, fmt::format("{}: lhs {} with rhs {} is not offered; pairs are any two of bf16, e4m3 and e5m2, f32 "
                                         "with f32, i8 with i8; convert an operand",
                                         op, name(lhs), name(rhs))};
}

Status check_group_scale_rows(const NamedOperand& n, std::span<const RowRange> groups) {
  const Scales& s = n.operand.scales;
  if (!s.present() || s.origin != ScaleOrigin::per_group) return {};
  std::int64_t needed = 0;
  for (const RowRange& group : groups) needed += schedule::group_scale_rows(group.size(), s.block_rows);
  if (s.view.rows == needed) return {};
  return {Code::invalid_argument, fmt::format("{}: {} are {}; {} {} in {} groups with per_group block {} needs {} rows", n.op,
                                              n.scales, shape_text(s.view, n.rank), n.what,
                                              shape_text(n.operand.values, n.rank), groups.size(), block_text(s), needed)};
}

}  // namespace ragdot::api
