// Strict calls: scales have to be finite and above zero, where an element uses them.
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "api/validate_operand.hpp"
#include "format/fault.hpp"
#include "format/memory.hpp"
#include "schedule/segments.hpp"

namespace ragdot::api {
namespace {

/// The scale at an index as it is read: a subnormal f32 or bf16 is zero, and so is e8m0 code 0 in products of i8, which do not
/// fold it into the value.
float scale_at(const NamedOperand& n, std::int64_t batch, std::int64_t row, std::int64_t col) {
  const ConstView& v = n.operand.scales.view;
  const float scale = format::load_f32(format::element_at(v, batch, row, col), v.format);
  const bool subnormal = (std::bit_cast<std::uint32_t>(scale) & format::kF32Exponent) == 0;
  const bool exact = v.format == Format::e8m0 && !(n.multiplied && n.operand.values.format == Format::i8);
  return subnormal && !exact ? 0.0F : scale;
}

Status check_rows(const NamedOperand& n, std::int64_t batch, std::int64_t first_row, std::int64_t end_row) {
  const ConstView& v = n.operand.scales.view;
  for (std::int64_t row = first_row; row < end_row; ++row) {
    for (std::int64_t col = 0; col < v.cols; ++col) {
      const float scale = scale_at(n, batch, row, col);
      if ((scale > 0 && std::isfinite(scale)) || fault::on(fault::Id::strict_ignored)) continue;
      const std::string index =
          n.rank == Rank::batch ? fmt::format("[{}, {}, {}]", batch, row, col) : fmt::format("[{}, {}]", row, col);
      const float given = format::load_f32(format::element_at(v, batch, row, col), v.format);
      const std::string read = given == scale ? "" : ", which products read as 0";
      const std::string value = std::isnan(scale) ? "nan" : fmt::format("{:g}{}", given, read);
      return {Code::invalid_argument,
              fmt::format("{}: {} {} is {}; a strict call needs finite scales above zero", n.op, n.scales, index, value)};
    }
  }
  return {};
}

}  // namespace

Status check_grouped_scales(const NamedOperand& n, std::span<const RowRange> groups, std::int64_t first, std::int64_t count) {
  const Scales& s = n.operand.scales;
  if (!s.present() || n.operand.values.cols == 0) return {};
  const bool per_group = s.origin == ScaleOrigin::per_group;
  std::int64_t base = 0;     // first scale row of the group, per_group
  std::int64_t checked = 0;  // scale rows before this one need no second look
  for (std::int64_t g = 0; g < first + count; ++g) {
    const RowRange& rows = groups[static_cast<std::size_t>(g)];
    if (g >= first && rows.size() > 0) {
      const schedule::AxisGrid grid =
          per_group ? schedule::group_grid(s.block_rows, base) : schedule::global_grid(s.block_rows, rows.begin);
      const std::int64_t end = grid.index(rows.size() - 1) + 1;
      if (Status status = check_rows(n, 0, std::max(grid.index(0), checked), end); !status.ok()) return status;
      checked = end;
    }
    base += schedule::group_scale_rows(rows.size(), s.block_rows);
  }
  return {};
}

Status check_all_scales(const NamedOperand& n, std::span<const RowRange> groups) {
  const Scales& s = n.operand.scales;
  if (!s.present() || n.operand.values.rows == 0 || n.operand.values.cols == 0) return {};
  for (std::int64_t batch = 0; batch < s.view.batch; ++batch) {
    if (!groups.empty() && groups[static_cast<std::size_t>(batch)].size() == 0) continue;
    if (Status status = check_rows(n, batch, 0, s.view.rows); !status.ok()) return status;
  }
  return {};
}

}  // namespace ragdot::api
