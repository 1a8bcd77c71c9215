// Overlap of views against sets of bytes.
#include "api/overlap.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <array>
#include <set>
#include <vector>

namespace ragdot::api {
namespace {

std::array<std::byte, 1 << 16> memory;

std::set<std::uintptr_t> bytes_of(const ConstView& v) {
  std::set<std::uintptr_t> bytes;
  for (std::int64_t b = 0; b < v.batch; ++b) {
    for (std::int64_t r = 0; r < v.rows; ++r) {
      for (std::int64_t c = 0; c < v.cols; ++c) {
        const auto first =
            reinterpret_cast<std::uintptr_t>(v.data) +
            static_cast<std::uintptr_t>((b * v.batch_stride + r * v.row_stride + c * v.col_stride) * element_bytes(v.format));
        for (std::int64_t i = 0; i < element_bytes(v.format); ++i) bytes.insert(first + static_cast<std::uintptr_t>(i));
      }
    }
  }
  return bytes;
}

bool share(const std::set<std::uintptr_t>& a, const std::set<std::uintptr_t>& b) {
  for (const std::uintptr_t byte : a) {
    if (b.contains(byte)) return true;
  }
  return false;
}

/// A view that does not overlap itself: three axes in any order, each stepping over what lies within it and a gap.
ConstView any_view() {
  const auto upto = [](int most) { return static_cast<std::int64_t>(*rc::gen::inRange(0, most + 1)); };
  std::array<std::int64_t, 3> extents = {1 + upto(3), 1 + upto(3), 1 + upto(3)};
  std::array<std::int64_t, 3> strides{};
  std::int64_t step = 1 + upto(2);
  for (std::size_t i = 0; i < 3; ++i) {
    strides[i] = step;
    step = step * extents[i] + (*rc::gen::arbitrary<bool>() ? upto(12) : 0);
  }
  using Order = std::array<std::size_t, 3>;
  const Order order = *rc::gen::elementOf(std::vector<Order>{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}});
  const Format format = *rc::gen::element(Format::e4m3, Format::bf16, Format::f32);
  return {
      memory.data() + upto(60), format,           extents[order[0]], extents[order[1]], extents[order[2]], strides[order[0]],
      strides[order[1]],        strides[order[2]]};
}

TEST(Overlap, IsSharingAByte) {
  EXPECT_TRUE(rc::check([] {
    const ConstView a = any_view();
    const ConstView b = any_view();
    const bool expected = share(bytes_of(a), bytes_of(b));
    RC_CLASSIFY(expected, "overlap");
    RC_ASSERT(overlaps(a, b) == expected);
    RC_ASSERT(overlaps(b, a) == expected);
  }));
}

TEST(Overlap, ColumnSlicesOfOneBufferAreApart) {
  const ConstView left = matrix(static_cast<const void*>(memory.data()), Format::f32, 64, 8, 24);
  const ConstView right = matrix(static_cast<const void*>(memory.data() + 32), Format::f32, 64, 16, 24);
  const ConstView wider = matrix(static_cast<const void*>(memory.data()), Format::f32, 64, 9, 24);
  EXPECT_FALSE(overlaps(left, right));
  EXPECT_TRUE(overlaps(wider, right));
  EXPECT_TRUE(overlaps(left, left));
}

TEST(Overlap, FormatsOfUnequalWidthMeetInBytes) {
  const ConstView wide = matrix(static_cast<const void*>(memory.data()), Format::f32, 1, 4);
  const ConstView last = matrix(static_cast<const void*>(memory.data() + 15), Format::e4m3, 1, 1);
  const ConstView behind = matrix(static_cast<const void*>(memory.data() + 16), Format::e4m3, 1, 1);
  EXPECT_TRUE(overlaps(wide, last));
  EXPECT_FALSE(overlaps(wide, behind));
}

TEST(Overlap, EmptyAndAbsentViewsShareNothing) {
  const ConstView some = matrix(static_cast<const void*>(memory.data()), Format::f32, 4, 4);
  EXPECT_FALSE(overlaps(some, matrix(static_cast<const void*>(memory.data()), Format::f32, 0, 4)));
  EXPECT_FALSE(overlaps(some, matrix(static_cast<const void*>(memory.data()), Format::none, 4, 4)));
}

}  // namespace
}  // namespace ragdot::api
