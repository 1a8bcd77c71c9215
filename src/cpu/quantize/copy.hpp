// One quantised copy, row by row: measure blocks, choose their scales, encode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpu/quantize/stretch.hpp"
#include "ragdot/quantize.hpp"
#include "schedule/segments.hpp"

namespace ragdot::cpu {

/// Rows that are written together where a copy's columns are not contiguous.
inline constexpr std::int64_t kTileRows = 64;

/// The scale rows of a copy that some rows touch.
struct BlockRows {
  schedule::AxisGrid grid;  // of rows counted from the group's first
  std::int64_t first = 0;
  std::int64_t count = 0;
};
[[nodiscard]] BlockRows block_rows(const Stretch& stretch, const QuantizedOut& out, std::size_t copy, const RowRange& rows);

/// What one thread keeps for one copy. Blocks are [scale rows at hand, scale columns].
struct CopyScratch {
  std::vector<std::uint32_t> amax;
  std::vector<float> scales;
  std::vector<float> factors;     // of each column, for scale row factors_row
  std::int64_t factors_row = -1;  // -1: none yet
  std::vector<std::byte> tile;    // encoded rows [kTileRows, tile_pitch], only where columns are not contiguous
  std::int64_t tile_row = 0;      // the first of them
  std::int64_t tile_rows = 0;

  /// Room for `most` scale rows of a copy.
  void allocate(const QuantizedOut& out, std::int64_t most);
};

/// Raises the magnitudes (bits of the largest finite |x|) of the blocks that a row lies in.
void measure(const QuantizedOut& out, std::span<const float> row, std::uint32_t* amax);

/// Scales of the blocks of `rows`, stored in the copy too; those of Recipe::fixed are read from it.
void choose_scales(const QuantizedOut& out, std::int64_t matrix, const BlockRows& rows, const std::uint32_t* amax,
                   float* scales);

/// Row `row` of a matrix, whose blocks have `scales`, the copy's scale row `scale_row`. Rows come in ascending order; flush
/// follows the last.
void encode_row(const QuantizedOut& out, std::int64_t matrix, std::int64_t row, const float* scales, std::int64_t scale_row,
                std::span<const float> x, CopyScratch& scratch);
void flush(const QuantizedOut& out, std::int64_t matrix, CopyScratch& scratch);

/// Rows of no group: zeros. `out` may be a copy's values or a dequantiser's out.
void zero_rows(const View& out, std::int64_t matrix, const RowRange& rows);

/// Scales that no element has: 1. A fixed recipe's stay.
void fill_unused_scales(const QuantizedOut& out, const ConstView& input, const std::optional<std::vector<RowRange>>& groups);

}  // namespace ragdot::cpu
