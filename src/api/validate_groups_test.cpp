// Group metadata in its four forms: what is read, and the sentence for every list that is no list of groups.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "api/validate.hpp"

namespace ragdot::api {
namespace {

using I32 = std::vector<std::int32_t>;
using I64 = std::vector<std::int64_t>;

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

/// What each of the functions takes, and what none of them does.
template <class Container>
concept GroupList = requires(Container&& c) {
  Groups::from_sizes(std::forward<Container>(c));
  Groups::from_ends(std::forward<Container>(c));
  Groups::from_offsets(std::forward<Container>(c));
  Groups::from_starts_and_sizes(std::forward<Container>(c), std::forward<Container>(c));
};
template <class Container>
concept NoGroupList = !requires(Container&& c) { Groups::from_sizes(std::forward<Container>(c)); } && !requires(Container&& c) {
  Groups::from_ends(std::forward<Container>(c));
} && !requires(Container&& c) { Groups::from_offsets(std::forward<Container>(c)); } && !requires(Container&& c, I32& kept) {
  Groups::from_starts_and_sizes(kept, std::forward<Container>(c));
} && !requires(Container&& c, I32& kept) { Groups::from_starts_and_sizes(std::forward<Container>(c), kept); };
static_assert(GroupList<I32&> && GroupList<const I64&> && GroupList<std::array<std::int32_t, 3>&>);
static_assert(GroupList<std::span<const std::int32_t>> && GroupList<std::span<std::int64_t>>);
static_assert(NoGroupList<I32> && NoGroupList<const I32> && NoGroupList<std::array<std::int32_t, 3>>,
              "a container that is gone behind the call must not be borrowed");

template <class T>
std::span<const T> span(const std::vector<T>& v) {
  return v;
}

/// The ranges as text, or the sentence of the refusal.
std::string read(const Groups& groups, std::int64_t rows) {
  std::vector<RowRange> ranges(static_cast<std::size_t>(std::max<std::int64_t>(groups.count, 0)));
  const Status status = read_groups("gmm", groups, rows, ranges);
  if (!status.ok()) {
    EXPECT_EQ(status.code(), Code::invalid_argument);
    return status.message();
  }
  std::string text;
  for (const RowRange& r : ranges) text += fmt::format("[{},{})", r.begin, r.end);
  return text;
}

template <class T>
class ReadGroups : public testing::Test {};
using Indices = testing::Types<std::int32_t, std::int64_t>;
TYPED_TEST_SUITE(ReadGroups, Indices);

TYPED_TEST(ReadGroups, TakesAllFourForms) {
  using V = std::vector<TypeParam>;
  const V sizes = {2, 0, 4};
  EXPECT_EQ(read(Groups::from_sizes(span(sizes)), 6), "[0,2)[2,2)[2,6)");
  EXPECT_EQ(read(Groups::from_sizes(span(sizes)), 9), "[0,2)[2,2)[2,6)");
  const V ends = {2, 2, 6};
  EXPECT_EQ(read(Groups::from_ends(span(ends)), 6), "[0,2)[2,2)[2,6)");
  const V offsets = {1, 3, 3, 6};
  EXPECT_EQ(read(Groups::from_offsets(span(offsets)), 6), "[1,3)[3,3)[3,6)");
  const V starts = {1, 4, 6};
  EXPECT_EQ(read(Groups::from_starts_and_sizes(span(starts), span(V{2, 2, 0})), 6), "[1,3)[4,6)[6,6)");
}

TYPED_TEST(ReadGroups, TakesNoGroups) {
  const std::vector<TypeParam> none;
  const std::vector<TypeParam> zero = {0};
  EXPECT_EQ(read(Groups::from_sizes(span(none)), 6), "");
  EXPECT_EQ(read(Groups::from_ends(span(none)), 0), "");
  EXPECT_EQ(read(Groups::from_offsets(span(zero)), 0), "");
  EXPECT_EQ(read(Groups::from_starts_and_sizes(span(none), span(none)), 0), "");
}

TYPED_TEST(ReadGroups, RefusesSizes) {
  using V = std::vector<TypeParam>;
  EXPECT_EQ(read(Groups::from_sizes(span(V{2, -5, 4})), 6), "gmm: group size 1 is -5; sizes are 0 or more");
  EXPECT_EQ(read(Groups::from_sizes(span(V{2, 1, 4})), 6),
            "gmm: group sizes sum to 7; there are 6 rows, and the sum may be no larger");
}

TYPED_TEST(ReadGroups, RefusesEnds) {
  using V = std::vector<TypeParam>;
  EXPECT_EQ(read(Groups::from_ends(span(V{-1, 2})), 6), "gmm: group end 0 is -1; ends are 0 or more");
  EXPECT_EQ(read(Groups::from_ends(span(V{3, 2})), 6),
            "gmm: group end 1 is 2, below the 3 before it; ends ascend, as running sums of sizes do");
  EXPECT_EQ(read(Groups::from_ends(span(V{3, 7})), 6), "gmm: group end 1 is 7; there are 6 rows");
}

TYPED_TEST(ReadGroups, RefusesOffsets) {
  using V = std::vector<TypeParam>;
  EXPECT_EQ(read(Groups::from_offsets(span(V{-1, 2})), 6), "gmm: group offset 0 is -1; offsets are 0 or more");
  EXPECT_EQ(read(Groups::from_offsets(span(V{0, 3, 2})), 6),
            "gmm: group offset 2 is 2, below the 3 before it; offsets ascend, as running sums of sizes do");
  EXPECT_EQ(read(Groups::from_offsets(span(V{0, 3, 7})), 6), "gmm: group offset 2 is 7; there are 6 rows");
  EXPECT_EQ(read(Groups::from_offsets(span(V{7})), 6), "gmm: group offset 0 is 7; there are 6 rows");
}

TYPED_TEST(ReadGroups, RefusesStartsAndSizes) {
  using V = std::vector<TypeParam>;
  const auto both = [](const V& starts, const V& sizes) {
    return read(Groups::from_starts_and_sizes(span(starts), span(sizes)), 6);
  };
  EXPECT_EQ(both({0, 3}, {2, -1}), "gmm: group size 1 is -1; sizes are 0 or more");
  EXPECT_EQ(both({-2, 3}, {2, 1}), "gmm: group start 0 is -2; starts are 0 or more");
  EXPECT_EQ(both({0, 3}, {4, 1}),
            "gmm: group 1 starts at row 3, before group 0 ends at row 4; groups ascend and do not overlap");
  EXPECT_EQ(both({3, 0}, {1, 1}),
            "gmm: group 1 starts at row 0, before group 0 ends at row 4; groups ascend and do not overlap");
  EXPECT_EQ(both({0, 5}, {4, 2}), "gmm: group 1 starts at row 5 with 2 rows; there are 6 rows");
  EXPECT_EQ(both({0, 7}, {4, 0}), "gmm: group 1 starts at row 7 with 0 rows; there are 6 rows");
}

TEST(ReadGroups, RefusesSumsBeyondInt64) {
  EXPECT_EQ(read(Groups::from_sizes(span(I64{2, kMax})), 6),
            "gmm: group sizes pass 2^63 - 1 at size 1, which is 9223372036854775807; there are 6 rows");
  EXPECT_EQ(read(Groups::from_starts_and_sizes(span(I64{0, 6}), span(I64{2, kMax})), 6),
            "gmm: group 1 starts at row 6 with 9223372036854775807 rows; there are 6 rows");
}

TEST(ReadGroups, SumsInt32SizesInInt64) {
  constexpr std::int32_t kHalf = std::numeric_limits<std::int32_t>::max();
  EXPECT_EQ(read(Groups::from_sizes(span(I32{kHalf, kHalf, kHalf})), 3LL * kHalf),
            "[0,2147483647)[2147483647,4294967294)[4294967294,6442450941)");
}

TEST(ReadGroups, RefusesNull) {
  Groups groups;
  groups.count = 3;
  EXPECT_EQ(read(groups, 6), "gmm: group sizes are null; 3 numbers are needed");
  groups.kind = Groups::Kind::ends;
  EXPECT_EQ(read(groups, 6), "gmm: group ends are null; 3 numbers are needed");
  groups.kind = Groups::Kind::offsets;
  EXPECT_EQ(read(groups, 6), "gmm: group offsets are null; 4 numbers are needed");
  groups.kind = Groups::Kind::starts_and_sizes;
  EXPECT_EQ(read(groups, 6), "gmm: group starts are null; 3 numbers are needed");
  const I32 starts = {0, 0, 0};
  groups.data = starts.data();
  EXPECT_EQ(read(groups, 6), "gmm: group sizes are null; 3 numbers are needed");
}

TEST(ReadGroups, ReadsUnalignedNumbers) {
  std::vector<char> bytes(1 + 3 * sizeof(std::int64_t));
  const std::int64_t sizes[3] = {2, 0, 4};
  std::memcpy(bytes.data() + 1, sizes, sizeof sizes);
  Groups groups;
  groups.index = Groups::Index::i64;
  groups.data = bytes.data() + 1;
  groups.count = 3;
  EXPECT_EQ(read(groups, 6), "[0,2)[2,2)[2,6)");
}

TEST(ReadGroups, RefusesForms) {
  Groups groups;
  groups.kind = static_cast<Groups::Kind>(7);
  EXPECT_EQ(read(groups, 6), "gmm: groups.kind is 7; it must be 0 (sizes), 1 (ends), 2 (offsets) or 3 (starts_and_sizes)");
  groups = {};
  groups.count = -1;
  EXPECT_EQ(read(groups, 6), "gmm: groups.count is -1; it must be 0 or more and below 2^50");
}

}  // namespace
}  // namespace ragdot::api
