// Rows of the input of a quantiser as f32: plain values, or scaled ones dequantised on the way.
#pragma once

#include <cstdint>
#include <span>

#include "ragdot/view.hpp"
#include "schedule/rows.hpp"

namespace ragdot::cpu {

/// Row `row` of a matrix, which lies in a group that begins at row `group_begin` and whose first scale row (per_group scales)
/// is `group_scale_row`.
struct SourceRow {
  std::int64_t matrix = 0;
  std::int64_t row = 0;
  std::int64_t group_begin = 0;
  std::int64_t group_scale_row = 0;
};

/// Writes the input's cols values as f32: value * scale rounded once, scales that are subnormal f32 or bf16 as zero.
void load_row(const Operand& input, const SourceRow& at, float* out);

}  // namespace ragdot::cpu
