// One quantised copy, tile by tile: measure blocks, choose their scales, encode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpu/quantize/routines.hpp"
#include "cpu/quantize/stretch.hpp"
#include "ragdot/quantize.hpp"
#include "schedule/segments.hpp"

namespace ragdot::cpu {

/// Rows that are written together where a copy's columns are not contiguous.
inline constexpr std::int64_t kTileRows = 128;

/// The scale blocks of a copy that some rows and columns touch.
struct BlockRange {
  schedule::AxisGrid grid;  // of rows counted from the group's first
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  std::int64_t first_col = 0;
  std::int64_t cols = 0;

  [[nodiscard]] std::int64_t count() const { return rows * cols; }
  /// Where the blocks of a row of the group begin, in an array of all of them.
  [[nodiscard]] std::int64_t offset(std::int64_t row_in_group) const { return (grid.index(row_in_group) - first_row) * cols; }
};
/// `cols` begins with a block.
[[nodiscard]] BlockRange block_range(const Stretch& stretch, const QuantizedOut& out, std::size_t copy, const RowRange& rows,
                                     const ColRange& cols);

/// Scales of blocks from the bits of their largest finite |x|, stored in the copy, and the factors of their elements.
void choose_scales(const QuantizedOut& out, std::int64_t matrix, const BlockRange& blocks, const std::uint32_t* amax,
                   float* factors);

/// The given scales of some blocks, which are the factors of their elements.
void read_scales(const QuantizedOut& out, std::int64_t matrix, const BlockRange& blocks, float* factors);

/// Stores scales that block_scale gave.
void store_scales(const QuantizedOut& out, std::int64_t matrix, const BlockRange& blocks, const float* scales);

/// Writes the values of one copy for one thread.
class CopyWriter {
 public:
  /// For at most `most_cols` columns at a time. May throw std::bad_alloc.
  CopyWriter(const QuantizedOut& out, const Routines& routines, std::int64_t most_cols);

  /// Where the bytes of some columns of a row go, which written() makes known to be there. Rows come in ascending order
  /// without gaps, always the same columns until flush, which follows the last row.
  [[nodiscard]] std::byte* place(std::int64_t matrix, std::int64_t row, const ColRange& cols);
  void written(std::int64_t matrix, const ColRange& cols);
  void flush(std::int64_t matrix, const ColRange& cols);

 private:
  const QuantizedOut& out_;
  const Routines& routines_;
  std::int64_t pitch_;
  Stores stores_ = Stores::cached;
  std::vector<std::byte> tile_;  // encoded rows [kTileRows, pitch], only where columns are not contiguous
  std::int64_t tile_row_ = 0;    // the first of them
  std::int64_t tile_rows_ = 0;
};

/// Rows of no group: zeros. `out` may be a copy's values or a dequantiser's out.
void zero_rows(const View& out, std::int64_t matrix, const RowRange& rows);

/// Scales that no element has: 1. A fixed recipe's stay.
void fill_unused_scales(const QuantizedOut& out, const ConstView& input, const std::optional<std::vector<RowRange>>& groups);

}  // namespace ragdot::cpu
