// The cache model: panels of lhs rows fill half of the L2 cache, the rhs strip that runs over them at most as much (a quarter
// where rows are few). Within a multiplication the kernel's own blocks fit the L1 cache.
#include "cpu/tile_size.hpp"

#include <unistd.h>

#include <algorithm>

#include "schedule/items.hpp"

namespace ragdot::cpu {
namespace {

// Bounds of the workspace, whatever is asked for.
constexpr std::int64_t kMostOuter = 1024;
constexpr std::int64_t kFewRowsDepth = 512;  // of tiles of few rows, which take wide strips
// Columns packed at a time: weights and out are read and written in runs of so many, which memory needs.
constexpr std::int64_t kMostStrip = 256;

std::int64_t fit(std::int64_t asked, std::int64_t extent, std::int64_t unit, std::int64_t most) {
  return padded(std::clamp<std::int64_t>(std::min(asked, extent), 1, most), unit);
}

/// A problem as the model sees it.
struct Extents {
  std::int64_t rows = 0;
  std::int64_t depth = 0;
  std::int64_t cols = 0;
  std::int64_t unit = 0;  // of depth
  std::int64_t rows_per_group = 0;
  std::int64_t few_rows_depth = kFewRowsDepth;
  std::int64_t few_rows_cols = kMostOuter;
};

Tiling cut(const Tiling& t, const Extents& e, const Kernel& kernel, std::int64_t most_cols = kMostOuter) {
  return {fit(t.tm, e.rows, kernel.block_rows, kMostOuter), fit(t.tk, e.depth, e.unit, kMostDepth),
          fit(t.tn, e.cols, kernel.block_cols, most_cols)};
}

Tiling cache_tile(const Extents& e, const Kernel& kernel, Arithmetic arithmetic, std::int64_t l2) {
  if (e.rows_per_group <= kFewRows / 2) return cut({kFewRows, e.few_rows_depth, e.few_rows_cols}, e, kernel, e.few_rows_cols);
  constexpr std::int64_t kFewestInner = 4;  // inner blocks of rows that share a strip
  // Of a panel as large as they become: what pads a small one counts for little there.
  const std::int64_t panel_bytes = kernel.panel_bytes(arithmetic, kernel.inner_rows, kMostDepth);
  const std::int64_t row_bytes = panel_bytes / (kernel.inner_rows * kMostDepth / e.unit);  // a unit deep
  const auto depth_for = [&](std::int64_t bytes, std::int64_t outers) {
    return std::max<std::int64_t>(1, bytes / (outers * row_bytes)) * e.unit;
  };
  const std::int64_t most =
      std::min({depth_for(l2 / 2, kFewestInner * kernel.inner_rows), depth_for(l2 / 4, kernel.inner_cols), kMostDepth});
  const std::int64_t depth = std::max<std::int64_t>(e.depth, 1);
  const std::int64_t tiles = schedule::ceil_div(depth, most);  // of nearly equal depth, cut where wide scale blocks end
  constexpr std::int64_t kUsualBlock = 128;
  const std::int64_t tk = padded(schedule::ceil_div(depth, tiles), std::max(e.unit, kUsualBlock));
  const std::int64_t tm = l2 / 2 / (tk / e.unit * row_bytes);
  return cut({std::max(tm / kernel.inner_rows * kernel.inner_rows, kernel.inner_rows), tk, kMostOuter}, e, kernel);
}

/// Rows that most groups have at most: twice the average.
std::int64_t usual_group(const plan::Problem& p) {
  constexpr std::int64_t kLeast = 256;
  const std::int64_t average = schedule::ceil_div(p.m, std::max<std::int64_t>(p.groups, 1));
  return std::max(kLeast, average > p.m / 2 ? p.m : 2 * average);
}

}  // namespace

std::int64_t l2_bytes() {
  constexpr std::int64_t kUsual = 1 << 20;
  static const std::int64_t kBytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  return kBytes > 0 ? kBytes : kUsual;
}

Tiling effective_tile(const plan::Problem& p, const Kernel& kernel, const std::optional<Tiling>& asked, int threads,
                      std::int64_t l2) {
  const bool is_gmm = p.op == plan::Op::gmm;
  const Arithmetic arithmetic = arithmetic_of(p);
  Extents extents{is_gmm ? p.m : p.k, is_gmm ? p.k : p.m, p.n, std::max(schedule::kChunk, kernel.depth_unit(arithmetic)),
                  is_gmm ? p.m / std::max<std::int64_t>(p.groups, 1) : p.k};
  for (const FewRows* way : kernel.few_rows) {  // of most groups
    if (!is_gmm || way == nullptr || way->weights != p.weights || extents.rows_per_group > way->most_rows(p.rhs.values))
      continue;
    extents.few_rows_depth = way->tile_depth;
    if (way->tile_cols > 0) extents.few_rows_cols = way->tile_cols;
    break;
  }
  if (asked) return cut(*asked, extents, kernel);

  if (!is_gmm) extents.depth = std::min(extents.depth, usual_group(p));

  Tiling tile = cache_tile(extents, kernel, arithmetic, l2);
  const std::int64_t wanted = kItemsPerThread * threads;
  const auto items = [&] {
    const std::int64_t groups = std::max<std::int64_t>(p.local, 1);
    const std::int64_t spans = is_gmm ? std::min(groups, std::max<std::int64_t>(p.m, 1)) : groups;
    const std::int64_t row_tiles =
        is_gmm ? std::max(spans, schedule::ceil_div(p.m, tile.tm)) : spans * schedule::ceil_div(p.k, tile.tm);
    return row_tiles * schedule::ceil_div(p.n, tile.tn);
  };
  while (threads > 1 && items() < wanted && halve(tile, kernel)) {
  }
  // Rather narrow tiles of few rows than threads without any, where there is enough to read.
  constexpr std::int64_t kLeastBytes = 64 << 10;
  const std::int64_t column_bytes = std::max<std::int64_t>(extents.depth, 1) * element_bytes(p.rhs.values);
  while (is_gmm && tile.tm <= kFewRows && items() < threads && tile.tn > kernel.block_cols &&
         tile.tn * column_bytes >= kLeastBytes)
    tile.tn = padded(tile.tn / 2, kernel.block_cols);
  return tile;
}

bool halve(Tiling& tile, const Kernel& kernel) {
  const bool cuts_cols = tile.tn > 4 * kernel.block_cols;
  const bool cuts_rows = tile.tm > std::max(8 * kernel.block_rows, kFewRows);  // each of them packs the columns anew
  if (!cuts_cols && !cuts_rows) return false;
  const bool cols = cuts_cols && (tile.tn >= tile.tm || !cuts_rows);
  std::int64_t& side = cols ? tile.tn : tile.tm;
  // Ways of few rows read weights two blocks of columns at a time.
  side = padded(side / 2, cols ? 2 * kernel.block_cols : kernel.block_rows);
  return true;
}

std::int64_t strip_cols(const Kernel& kernel, const Tiling& tile, std::int64_t l2) {
  const bool few_rows = tile.tm <= kFewRows;
  const std::int64_t inner_bytes = kernel.panel_bytes(Arithmetic::wide, kernel.inner_cols, tile.tk);
  const std::int64_t most = few_rows ? tile.tn : kMostStrip;
  const std::int64_t strip = std::min(most, l2 / (few_rows ? 4 : 2) / inner_bytes * kernel.inner_cols);
  return std::min(padded(std::max<std::int64_t>(strip, 1), kernel.inner_cols), padded(tile.tn, kernel.inner_cols));
}

}  // namespace ragdot::cpu
