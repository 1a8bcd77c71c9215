// Segments and pieces against brute force: every boundary of either grid cuts, nothing else does, nothing is lost.
#include "schedule/segments.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>
#include <vector>

namespace ragdot::schedule {
namespace {

static_assert(AxisGrid{}.index(1'000'000) == 0 && AxisGrid{}.next_cut(5) == kWholeAxis);
static_assert(global_grid(128, 300).index(0) == 2 && global_grid(128, 300).next_cut(0) == 84);
static_assert(group_scale_rows(0, 128) == 0 && group_scale_rows(129, 128) == 2 && group_scale_rows(0, kWholeAxis) == 1);
static_assert(AxisGrid{kWholeAxis - 1, 0, 0}.next_cut(kWholeAxis - 2) == kWholeAxis - 1);
static_assert(AxisGrid{kWholeAxis - 1, kWholeAxis - 2, 0}.next_cut(0) == 1);

AxisGrid any_grid() {
  const auto block = *rc::gen::weightedElement<std::int64_t>(
      {{1, kWholeAxis}, {2, 128}, {2, *rc::gen::inRange<std::int64_t>(1, 200)}, {1, 1}, {1, 32}});
  const std::int64_t phase = block == kWholeAxis ? 0 : *rc::gen::inRange<std::int64_t>(0, block);
  return {block, phase, *rc::gen::inRange<std::int64_t>(0, 5)};
}

/// Starts of segments by asking every element whether a scale index changes there.
std::set<std::int64_t> segment_starts(const AxisGrid& lhs, const AxisGrid& rhs, std::int64_t depth) {
  std::set<std::int64_t> starts;
  for (std::int64_t x = 0; x < depth; ++x) {
    if (x == 0 || lhs.index(x) != lhs.index(x - 1) || rhs.index(x) != rhs.index(x - 1)) starts.insert(x);
  }
  return starts;
}

TEST(Segments, IndexIsTheBlockOfTheWholeMatrix) {
  EXPECT_TRUE(rc::check([] {
    const auto block = *rc::gen::inRange<std::int64_t>(1, 300);
    const auto start = *rc::gen::inRange<std::int64_t>(0, 100'000);
    const auto x = *rc::gen::inRange<std::int64_t>(0, 1000);
    RC_ASSERT(global_grid(block, start).index(x) == (start + x) / block);
    RC_ASSERT(group_grid(block, 7).index(x) == 7 + x / block);
  }));
}

TEST(Segments, PiecesCoverTheAxisAndCutWhereScalesChange) {
  EXPECT_TRUE(rc::check([] {
    const AxisGrid lhs = any_grid();
    const AxisGrid rhs = any_grid();
    const auto depth = *rc::gen::inRange<std::int64_t>(0, 700);
    const auto most = *rc::gen::inRange<std::int64_t>(32, 300);
    std::set<std::int64_t> starts;
    std::int64_t at = 0;
    std::int64_t segment = 0;
    bool open = false;
    for (PieceWalk walk(lhs, rhs, depth); !walk.done();) {
      const Piece piece = walk.next(most);
      RC_ASSERT(piece.begin == at);
      RC_ASSERT(piece.depth() > 0 && piece.depth() <= most);
      RC_ASSERT(piece.first == !open);
      if (piece.first) {
        starts.insert(piece.begin);
        segment = piece.begin;
      }
      RC_ASSERT((piece.begin - segment) % kChunk == 0);
      open = !piece.last;
      at = piece.end;
    }
    RC_ASSERT(at == depth);
    RC_ASSERT(!open);
    RC_ASSERT(starts == segment_starts(lhs, rhs, depth));
  }));
}

TEST(Segments, APieceThatCannotHoldAChunkIsEmptyAndComesAgain) {
  PieceWalk walk({128, 0, 0}, {}, 256);
  EXPECT_EQ(walk.next(31).depth(), 0);
  const Piece piece = walk.next(100);
  EXPECT_EQ(piece.depth(), 96);
  EXPECT_TRUE(piece.first);
  EXPECT_FALSE(piece.last);
  EXPECT_EQ(walk.next(31).depth(), 0);
  const Piece rest = walk.next(32);
  EXPECT_EQ(rest.begin, 96);
  EXPECT_FALSE(rest.first);
  EXPECT_TRUE(rest.last);
  EXPECT_TRUE(walk.next(200).first);
  EXPECT_TRUE(walk.done());
}

}  // namespace
}  // namespace ragdot::schedule
