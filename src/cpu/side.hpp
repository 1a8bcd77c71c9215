// One operand as the driver sees it for one group: an outer axis (rows or columns of out) and the reduction axis.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format/fault.hpp"
#include "plan/problem.hpp"
#include "ragdot/view.hpp"
#include "schedule/items.hpp"
#include "schedule/segments.hpp"

namespace ragdot::cpu {

/// What a product of two formats needs so that its f32 chains are exact to the bit.
enum class Arithmetic : std::int32_t {
  fp8,   // both FP8 and unfolded: products are exact in f32
  wide,  // bf16, or FP8 with a folded power of two: products are exact in double
  f32,
  i8,
};

struct Side {
  const std::byte* values = nullptr;
  Format format = Format::none;
  std::int64_t outer_stride = 0;  // elements
  std::int64_t depth_stride = 0;
  std::int64_t block_stride = 0;  // of packed weights: from kPackedCols outer elements to the next, else 0
  const std::byte* scales = nullptr;
  Format scale_format = Format::none;
  std::int64_t scale_outer_stride = 0;
  std::int64_t scale_depth_stride = 0;
  schedule::AxisGrid outer_grid;
  schedule::AxisGrid depth_grid;

  [[nodiscard]] bool blocked() const { return block_stride != 0; }
  /// A power of two that belongs to the value.
  [[nodiscard]] bool folds() const { return scale_format == Format::e8m0 && format != Format::i8; }
  /// Scales that are applied to partial sums.
  [[nodiscard]] bool scaled() const { return scale_format != Format::none && !folds(); }
  [[nodiscard]] const std::byte* value(std::int64_t outer, std::int64_t depth) const {
    const std::int64_t at = blocked() ? outer / kPackedCols * block_stride + outer % kPackedCols : outer * outer_stride;
    return values + (at + depth * depth_stride) * element_bytes(format);
  }
  [[nodiscard]] const std::byte* scale(std::int64_t outer, std::int64_t depth) const {
    return scales + (outer_grid.index(outer) * scale_outer_stride + depth_grid.index(depth) * scale_depth_stride) *
                        element_bytes(scale_format);
  }
  /// The grid that cuts segments.
  [[nodiscard]] schedule::AxisGrid cuts() const { return scaled() ? depth_grid : schedule::AxisGrid{}; }
};

[[nodiscard]] Arithmetic arithmetic_of(const Side& lhs, const Side& rhs);
[[nodiscard]] Arithmetic arithmetic_of(const plan::Problem& problem);

/// An operand whose rows are cut into groups, for the group of `span`: rows outer (gmm's lhs) or rows reduced (tgmm's
/// operands).
[[nodiscard]] Side rows_outer(const Operand& operand, const schedule::Span& span);
[[nodiscard]] Side rows_reduced(const Operand& operand, const schedule::Span& span, std::int64_t scale_row);
/// gmm's weights of one local group: rows reduced, columns outer.
[[nodiscard]] Side weights(const Operand& operand, std::int64_t matrix, RhsLayout layout);

}  // namespace ragdot::cpu
