// Stretches: rows that a thread takes at once, holding whole scale blocks of every copy that is made from them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ragdot/quantize.hpp"
#include "schedule/rows.hpp"

namespace ragdot::cpu {

struct Stretch {
  std::int64_t matrix = 0;
  RowRange rows;
  bool outside = false;                 // rows of no group: zero bytes, no scales
  std::int64_t group_begin = 0;         // 0 without groups
  std::int64_t input_scale_row = 0;     // first scale row of the group in a per_group input
  std::vector<std::int64_t> scale_row;  // for each copy: scale row of row group_begin
};

/// Cuts the rows of all matrices into stretches. Without groups the whole matrix counts as one.
[[nodiscard]] std::vector<Stretch> cut_stretches(const Operand& input, const std::optional<std::vector<RowRange>>& groups,
                                                 std::span<const QuantizedOut> outs);

}  // namespace ragdot::cpu
