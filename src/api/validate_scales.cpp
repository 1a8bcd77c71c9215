// Strict calls: scales have to be finite and above zero, where an element uses them.
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "api/validate_operand.hpp"
#include "format/fault.hpp"
#include "schedule/segments.hpp"

namespace ragdot::api {
namespace {

/// The scale at an index as the products read it: a subnormal f32 or bf16 is zero, and so is e8m0 code 0 where it is not folded
/// into the value.
double scale_at(const Operand& operand, std::int64_t batch, std::int64_t row, std::int64_t col) {
  const ConstView& v = operand.scales.view;
  const char* at = static_cast<const char*>(v.data) +
                   (batch * v.batch_stride + row * v.row_stride + col * v.col_stride) * element_bytes(v.format);
  if (v.format == Format::e8m0) {
    const auto code = static_cast<unsigned char>(*at);
    if (code == 255) return std::numeric_limits<double>::quiet_NaN();
    return code == 0 && operand.values.format == Format::i8 ? 0.0 : std::ldexp(1.0, code - 127);
  }
  std::uint32_t bits = 0;
  if (v.format == Format::bf16) {
    std::uint16_t half = 0;
    std::memcpy(&half, at, sizeof half);
    bits = static_cast<std::uint32_t>(half) << 16;
  } else {
    std::memcpy(&bits, at, sizeof bits);
  }
  const bool subnormal = (bits & 0x7f800000U) == 0;
  return subnormal ? 0.0 : static_cast<double>(std::bit_cast<float>(bits));
}

Status check_rows(const NamedOperand& n, std::int64_t batch, std::int64_t first_row, std::int64_t end_row) {
  const ConstView& v = n.operand.scales.view;
  for (std::int64_t row = first_row; row < end_row; ++row) {
    for (std::int64_t col = 0; col < v.cols; ++col) {
      const double scale = scale_at(n.operand, batch, row, col);
      if ((scale > 0 && std::isfinite(scale)) || fault::on(fault::Id::strict_ignored)) continue;
      const std::string index =
          n.rank == Rank::batch ? fmt::format("[{}, {}, {}]", batch, row, col) : fmt::format("[{}, {}]", row, col);
      const std::string value = std::isnan(scale) ? "nan" : fmt::format("{:g}", scale);
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

Status check_all_scales(const NamedOperand& n) {
  const Scales& s = n.operand.scales;
  if (!s.present() || n.operand.values.rows == 0 || n.operand.values.cols == 0) return {};
  for (std::int64_t batch = 0; batch < s.view.batch; ++batch) {
    if (Status status = check_rows(n, batch, 0, s.view.rows); !status.ok()) return status;
  }
  return {};
}

}  // namespace ragdot::api
