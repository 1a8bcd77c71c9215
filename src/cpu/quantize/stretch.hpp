// Stretches: rows that a thread takes at once, holding whole scale blocks of every copy that is made from them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cpu/quantize/source.hpp"
#include "ragdot/quantize.hpp"
#include "schedule/rows.hpp"

namespace ragdot::cpu {

/// A stretch of more rows whose blocks end only with it is tall: all threads take parts of it together.
inline constexpr std::int64_t kTallRows = 1024;

struct Stretch {
  std::int64_t matrix = 0;
  RowRange rows;
  bool tall = false;
  bool outside = false;                 // rows of no group: zero bytes, no scales
  std::int64_t group_begin = 0;         // 0 without groups
  std::int64_t input_scale_row = 0;     // first scale row of the group in a per_group input
  std::vector<std::int64_t> scale_row;  // for each copy: scale row of row group_begin
};

/// Where load_row finds a row of a stretch.
[[nodiscard]] inline SourceRow source_row(const Stretch& stretch, std::int64_t row) {
  return {stretch.matrix, row, stretch.group_begin, stretch.input_scale_row};
}

/// Rows after which the blocks of all copies end together, kWholeAxis when never. Scales that are given (Recipe::fixed) bind no
/// rows together.
[[nodiscard]] std::int64_t common_block(std::span<const QuantizedOut> outs);

/// Cuts the rows of all matrices into stretches. Without groups the whole matrix counts as one.
[[nodiscard]] std::vector<Stretch> cut_stretches(const Operand& input, const std::optional<std::vector<RowRange>>& groups,
                                                 std::span<const QuantizedOut> outs);

}  // namespace ragdot::cpu
