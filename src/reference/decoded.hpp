// Operands read once: dense f32 values with powers of two folded in, dense f32 scales, and the grid they lie on.
#pragma once

#include <cstdint>
#include <vector>

#include "ragdot/gmm.hpp"
#include "ragdot/tgmm.hpp"

namespace ragdot::reference {

struct DecodedOperand {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  bool integers = false;
  std::vector<float> values;  // [batch, rows, cols]; subnormals zero
  bool cuts = false;          // has scales that are applied to partial sums
  std::int64_t scale_rows = 0;
  std::int64_t scale_cols = 0;
  std::int64_t block_rows = 0;
  std::int64_t block_cols = 0;
  std::vector<float> scales;              // [batch, scale_rows, scale_cols]; subnormals zero
  std::vector<std::int64_t> group_scale;  // per_group rows: first scale row of each group; empty: global

  [[nodiscard]] float value(std::int64_t b, std::int64_t r, std::int64_t c) const {
    return values[static_cast<std::size_t>((b * rows + r) * cols + c)];
  }
  /// Scale row of row `r`, which is the `within`-th row of group `g` (-1: the rows are not grouped).
  [[nodiscard]] std::int64_t scale_row(std::int64_t r, std::int64_t g, std::int64_t within) const;
  [[nodiscard]] std::int64_t scale_col(std::int64_t c) const;
  [[nodiscard]] float scale(std::int64_t b, std::int64_t scale_row_index, std::int64_t scale_col_index) const {
    return scales[static_cast<std::size_t>((b * scale_rows + scale_row_index) * scale_cols + scale_col_index)];
  }
};

/// Both operands and the groups of a call.
struct DecodedCall {
  bool is_gmm = true;
  std::int64_t rows = 0;  // of out
  std::int64_t cols = 0;
  std::int64_t inner = 0;  // gmm's K
  std::int64_t first_group = 0;
  std::int64_t local = 0;
  std::vector<std::int64_t> begins;
  std::vector<std::int64_t> ends;
  DecodedOperand lhs;
  DecodedOperand rhs;

  explicit DecodedCall(const GmmArgs& args);
  explicit DecodedCall(const TgmmArgs& args);

  /// One output row's reduction: which elements meet, and under which scale rows and columns.
  struct Line {
    std::int64_t group = -1;  // -1: gmm row of no local group
    std::int64_t begin = 0;   // the group's first row
    std::int64_t depth = 0;
  };
  [[nodiscard]] Line line(std::int64_t matrix, std::int64_t row) const;

  /// Element `x` of the reduction of out(line, row, col).
  [[nodiscard]] float lhs_value(const Line& line, std::int64_t row, std::int64_t x) const;
  [[nodiscard]] float rhs_value(const Line& line, std::int64_t col, std::int64_t x) const;
  /// Index along the reduction axis of the scale that belongs to element `x`; 0 without scales that cut.
  [[nodiscard]] std::int64_t lhs_cut(const Line& line, std::int64_t x) const;
  [[nodiscard]] std::int64_t rhs_cut(const Line& line, std::int64_t x) const;
  /// The scale of element `x`, 1 without scales that cut.
  [[nodiscard]] float lhs_scale(const Line& line, std::int64_t row, std::int64_t x) const;
  [[nodiscard]] float rhs_scale(const Line& line, std::int64_t col, std::int64_t x) const;
  /// End of the segment that starts at `x`.
  [[nodiscard]] std::int64_t segment_end(const Line& line, std::int64_t x) const;
};

}  // namespace ragdot::reference
