// Stretches: rows that a thread takes at once, holding whole scale blocks of every copy that is made from them; and the tiles
// of columns in which it goes through them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

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

/// Columns [begin, end).
struct ColRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  [[nodiscard]] constexpr std::int64_t size() const { return end - begin; }
};

/// Where an element stands.
struct Place {
  std::int64_t matrix = 0;
  std::int64_t row = 0;
  std::int64_t col = 0;
};

/// Rows after which the blocks of all copies end together, kWholeAxis when never. Scales that are given (Recipe::fixed) bind no
/// rows together.
[[nodiscard]] std::int64_t common_block(std::span<const QuantizedOut> outs);

/// Columns that are taken at once from `rows` rows: whole blocks of the input and of all copies, few enough for a band to stay
/// in the second-level cache and its f32 in the first, where blocks allow that.
[[nodiscard]] std::int64_t tile_columns(const Operand& input, std::span<const QuantizedOut> outs, std::int64_t rows);

/// Calls f(ColRange) for the tiles of a row.
template <class F>
void for_tiles(std::int64_t cols, std::int64_t tile, F f) {
  for (std::int64_t c = 0; c < cols;) {
    const std::int64_t end = tile < cols - c ? c + tile : cols;
    f(ColRange{c, end});
    c = end;
  }
}

/// Cuts the rows of all matrices into stretches. Without groups the whole matrix counts as one.
[[nodiscard]] std::vector<Stretch> cut_stretches(const Operand& input, const std::optional<std::vector<RowRange>>& groups,
                                                 std::span<const QuantizedOut> outs);

}  // namespace ragdot::cpu
