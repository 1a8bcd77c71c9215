// The automatic tile is the kernel's own, cut until every thread has several items.
#include "cpu/tile_size.hpp"

#include <algorithm>

#include "schedule/items.hpp"

namespace ragdot::cpu {
namespace {

constexpr std::int64_t kLargestTile = 1024;  // bounds the workspace whatever is asked for
constexpr std::int64_t kItemsPerThread = 4;

std::int64_t fit(std::int64_t asked, std::int64_t extent, std::int64_t unit) {
  const std::int64_t most = std::min(kLargestTile, schedule::ceil_div(std::max<std::int64_t>(extent, 1), unit) * unit);
  return std::clamp(schedule::ceil_div(std::min(asked, kLargestTile), unit) * unit, unit,
                    schedule::ceil_div(most, unit) * unit);
}

}  // namespace

Tiling effective_tile(const plan::Problem& p, const Kernel& kernel, const std::optional<Tiling>& asked, int threads) {
  const bool is_gmm = p.op == plan::Op::gmm;
  const std::int64_t rows = is_gmm ? p.m : p.k;
  const std::int64_t depth = is_gmm ? p.k : p.m;
  const std::int64_t unit = std::max(schedule::kChunk, kernel.depth_unit(arithmetic_of(p)));
  const auto cut = [&](const Tiling& t) {
    return Tiling{fit(t.tm, rows, kernel.block_rows), fit(t.tk, depth, unit), fit(t.tn, p.n, kernel.block_cols)};
  };
  if (asked) return cut(*asked);

  Tiling tile = cut(kernel.auto_tile);
  const std::int64_t wanted = kItemsPerThread * threads;
  const auto items = [&] {
    const std::int64_t groups = std::max<std::int64_t>(p.local, 1);
    const std::int64_t spans = is_gmm ? std::min(groups, std::max<std::int64_t>(p.m, 1)) : groups;
    const std::int64_t row_tiles =
        is_gmm ? std::max(spans, schedule::ceil_div(p.m, tile.tm)) : spans * schedule::ceil_div(p.k, tile.tm);
    return row_tiles * schedule::ceil_div(p.n, tile.tn);
  };
  while (threads > 1 && items() < wanted && (tile.tn > 4 * kernel.block_cols || tile.tm > 8 * kernel.block_rows)) {
    if (tile.tn >= tile.tm) {
      tile.tn = fit(tile.tn / 2, p.n, kernel.block_cols);
    } else {
      tile.tm = fit(tile.tm / 2, rows, kernel.block_rows);
    }
  }
  return tile;
}

}  // namespace ragdot::cpu
