// The rules of an operand: which formats go together, and scales that fit their grid.
#pragma once

#include <span>

#include "api/validate_view.hpp"
#include "ragdot/view.hpp"
#include "schedule/rows.hpp"

namespace ragdot::api {

/// An operand and its names in sentences: "gmm", "rhs", "rhs scales".
struct NamedOperand {
  const char* op;
  const char* what;
  const char* scales;
  const Operand& operand;
  Rank rank;
  bool multiplied = true;  // else dequantised

  [[nodiscard]] Subject values_subject() const { return {op, what}; }
  [[nodiscard]] Subject scales_subject() const { return {op, scales}; }
};

/// Whether groups lie along an operand's rows: only then per_group scales have a meaning.
enum class RowAxis : std::int32_t { plain, grouped };

/// Values and scales as far as shapes say it: formats, strides, blocks, extents. Scale rows of a per_group grid depend on group
/// numbers and are left to check_group_scale_rows.
[[nodiscard]] Status check_operand(const NamedOperand& named, RowAxis row_axis);
/// The same without asking for contiguous rows or columns.
[[nodiscard]] Status check_strided_operand(const NamedOperand& named, RowAxis row_axis);

/// Refuses pairs of value formats that are not offered.
[[nodiscard]] Status check_pair(const char* op, Format lhs, Format rhs);

/// The scale rows of a per_group grid are those that `groups`, all of them, need.
[[nodiscard]] Status check_group_scale_rows(const NamedOperand& named, std::span<const RowRange> groups);

/// Strict calls: every scale that an element of some group in [first, first + count) of `groups` uses is finite and above zero.
[[nodiscard]] Status check_grouped_scales(const NamedOperand& named, std::span<const RowRange> groups, std::int64_t first,
                                          std::int64_t count);
/// The same for an operand without groups along its rows: every scale that an element uses. `groups`, if it is not empty, has
/// one for each matrix: those of matrices whose group is empty are left out.
[[nodiscard]] Status check_all_scales(const NamedOperand& named, std::span<const RowRange> groups = {});

}  // namespace ragdot::api
