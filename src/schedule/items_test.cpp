// Items: every tile of every span comes exactly once, whatever the group sizes.
#include "schedule/items.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>
#include <tuple>
#include <vector>

namespace ragdot::schedule {
namespace {

using Place = std::tuple<std::int64_t, std::int64_t, std::int64_t>;

std::set<Place> all_tiles(const std::vector<Span>& spans, std::int64_t rows_per_span, std::int64_t cols) {
  std::set<Place> tiles;
  for (std::size_t s = 0; s < spans.size(); ++s) {
    const std::int64_t rows = rows_per_span >= 0 ? rows_per_span : spans[s].rows.size();
    for (std::int64_t r = 0; r < rows; r += spans[s].tile_rows) {
      for (std::int64_t c = 0; c < cols; c += spans[s].tile_cols) tiles.insert({static_cast<std::int64_t>(s), r, c});
    }
  }
  return tiles;
}

Span span_of(std::int64_t begin, std::int64_t size, std::int64_t tile_rows, std::int64_t tile_cols) {
  Span span;
  span.rows = {begin, begin + size};
  span.tile_rows = tile_rows;
  span.tile_cols = tile_cols;
  return span;
}

TEST(Items, EveryTileOnce) {
  EXPECT_TRUE(rc::check([] {
    const auto sizes = *rc::gen::container<std::vector<std::int64_t>>(
        rc::gen::weightedOneOf<std::int64_t>({{2, rc::gen::just<std::int64_t>(0)},
                                              {3, rc::gen::inRange<std::int64_t>(0, 400)},
                                              {1, rc::gen::just<std::int64_t>(1)}}));
    const auto cols = *rc::gen::inRange<std::int64_t>(0, 300);
    const auto rows_per_span = *rc::gen::element<std::int64_t>(-1, 0, 1, 130);
    std::vector<Span> spans;
    std::int64_t row = 0;
    for (const std::int64_t size : sizes) {
      const auto tile_rows = *rc::gen::inRange<std::int64_t>(1, 150);
      const auto tile_cols = *rc::gen::inRange<std::int64_t>(1, 150);
      spans.push_back(span_of(row, size, tile_rows, tile_cols));
      row += size;
    }
    const std::int64_t items = number_items(spans, rows_per_span, cols);
    std::set<Place> seen;
    for (std::int64_t i = 0; i < items; ++i) {
      const Tile tile = locate(spans, i, rows_per_span);
      RC_ASSERT(seen.insert({tile.span, tile.row, tile.col}).second);
    }
    RC_ASSERT(seen == all_tiles(spans, rows_per_span, cols));
  }));
}

TEST(Items, RowTilesOfOneColumnFollowEachOther) {
  std::vector<Span> spans = {span_of(0, 0, 128, 64), span_of(0, 256, 128, 64)};
  EXPECT_EQ(number_items(spans, -1, 128), 4);
  const Tile second = locate(spans, 1, -1);
  EXPECT_EQ(second.span, 1);
  EXPECT_EQ(second.row, 128);
  EXPECT_EQ(second.col, 0);
}

}  // namespace
}  // namespace ragdot::schedule
