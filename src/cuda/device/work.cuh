// Which tile of out comes next. Blocks are persistent: cluster c of C takes tiles c, c + C, ... A tile has the columns of two
// blocks, one for each block of the cluster, and both have the same rows, so a cluster never straddles two groups.
#pragma once

#include <cstdint>

#include "cuda/launch.hpp"

namespace ragdot::cuda {

inline constexpr int kClusterBlocks = 2;
/// Row tiles of a band: tiles run along rows inside a band, then along columns, so that what is in flight at one time shares
/// both operands in the second-level cache however many rows a group has.
inline constexpr int kBandTiles = 8;

/// Where a tile lies within its span.
struct TilePlace {
  int row_tile = 0;  // of the span's rows (gmm) or of K (tgmm)
  int pair = 0;      // of column tiles
};

/// Place of tile `index` of a span that has `row_tiles` x `pairs` tiles.
[[nodiscard]] __host__ __device__ constexpr TilePlace place_of(int index, int row_tiles, int pairs) {
  const int band = index / (kBandTiles * pairs);
  const int left = row_tiles - band * kBandTiles;
  const int in_band = left < kBandTiles ? left : kBandTiles;
  const int within = index - band * kBandTiles * pairs;
  return {band * kBandTiles + within % in_band, within / in_band};
}

[[nodiscard]] __host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

/// Whether the copy engine can read elements of `bytes` bytes from row `begin` of a line on.
[[nodiscard]] __host__ __device__ constexpr bool begins_aligned(std::int64_t begin, int bytes) {
  return begin * bytes % 16 == 0;
}

/// The row of a copy that a local group which does not begin so goes to: two never meet, with one multiple more for each.
[[nodiscard]] __host__ __device__ constexpr std::int64_t copied_start(std::int64_t begin, std::int64_t local_group) {
  return (begin / kGroupAlignment + local_group) * kGroupAlignment;
}

/// The last span that starts at or before `tile`; a whole warp asks.
__device__ __forceinline__ int find_span(const Span* spans, int count, int tile) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  int low = 0;
  int high = count;
  while (high - low > 1) {
    const int step = ceil_div(high - low, 32);
    const int probe = low + lane * step;
    const bool starts_before = probe < high && spans[probe].first_tile <= tile;
    low += (__popc(__ballot_sync(0xffffffffU, starts_before)) - 1) * step;
    high = low + step < high ? low + step : high;
  }
  return low;
}

}  // namespace ragdot::cuda
