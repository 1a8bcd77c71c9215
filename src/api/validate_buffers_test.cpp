// The catalogue of bad gmm and tgmm calls that pointers and group numbers decide: null, overlap, scale rows, strict scales.
#include <gtest/gtest.h>

#include <limits>

#include "api/bad_calls.hpp"
#include "api/validate.hpp"

namespace ragdot::api {
namespace {

class BadGmmBuffers : public testing::TestWithParam<BadCall<GmmCall>> {};
class BadTgmmBuffers : public testing::TestWithParam<BadCall<TgmmCall>> {};

TEST_P(BadGmmBuffers, GetTheirSentence) {
  GmmCall c;
  GetParam().broken(c);
  const Status status = c.call();
  EXPECT_EQ(status.message(), GetParam().message);
  EXPECT_EQ(status.code(), GetParam().code);
  EXPECT_TRUE(c.memory.untouched());
}

TEST_P(BadTgmmBuffers, GetTheirSentence) {
  TgmmCall c;
  GetParam().broken(c);
  const Status status = c.call();
  EXPECT_EQ(status.message(), GetParam().message);
  EXPECT_EQ(status.code(), GetParam().code);
  EXPECT_TRUE(c.memory.untouched());
}

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

template <class Call>
void strict_lhs(Call& c, std::size_t index, float scale) {
  c.options.strictness = Strictness::strict;
  c.memory.lhs_scales.at(index) = scale;
}
template <class Call>
void strict_rhs(Call& c, std::size_t index, float scale) {
  c.options.strictness = Strictness::strict;
  c.memory.rhs_scales.at(index) = scale;
}

const std::vector<BadCall<GmmCall>> kNull = {
    {"Lhs", [](auto& c) { c.args.lhs.values.data = nullptr; }, "gmm: lhs [6, 8]: data is null; give it"},
    {"LhsScales", [](auto& c) { c.args.lhs.scales.view.data = nullptr; }, "gmm: lhs scales [6, 2]: data is null; give it"},
    {"Rhs", [](auto& c) { c.args.rhs.values.data = nullptr; }, "gmm: rhs [3, 8, 4]: data is null; give it"},
    {"RhsScales", [](auto& c) { c.args.rhs.scales.view.data = nullptr; }, "gmm: rhs scales [3, 2, 2]: data is null; give it"},
    {"Bias", [](auto& c) { c.args.bias.data = nullptr; }, "gmm: bias [3, 4]: data is null; give it"},
    {"Out", [](auto& c) { c.args.out.data = nullptr; }, "gmm: out [6, 4]: data is null; give it"},
    {"Groups", [](auto& c) { c.args.groups.data = nullptr; }, "gmm: group sizes are null; 3 numbers are needed"},
    {"BeyondTheAddressSpace",
     [](auto& c) { c.args.out.data = reinterpret_cast<void*>(std::numeric_limits<std::int64_t>::max() - 50); },
     "gmm: out [6, 4] with strides [4, 1]: beyond the address space; give the true shape"},
    {"GroupsBeyondTheAddressSpace",
     [](auto& c) { c.args.groups.data = reinterpret_cast<const void*>(std::numeric_limits<std::int64_t>::max() - 10); },
     "gmm: group sizes [3, 1] with strides [1, 1]: beyond the address space; give the true shape"},
};

const std::vector<BadCall<GmmCall>> kOverlap = {
    {"Lhs", [](auto& c) { c.args.lhs.values.data = c.memory.out.data() + 95; },
     "gmm: out [6, 4] overlaps lhs [6, 8]; give out memory of its own"},
    {"LhsEnd", [](auto& c) { c.args.out.data = c.memory.lhs.data() + 47; },
     "gmm: out [6, 4] overlaps lhs [6, 8]; give out memory of its own"},
    {"LhsScales", [](auto& c) { c.args.lhs.scales.view.data = c.memory.out.data(); },
     "gmm: out [6, 4] overlaps lhs scales [6, 2]; give out memory of its own"},
    {"Rhs", [](auto& c) { c.args.rhs.values.data = c.memory.out.data(); },
     "gmm: out [6, 4] overlaps rhs [3, 8, 4]; give out memory of its own"},
    {"RhsScales", [](auto& c) { c.args.rhs.scales.view.data = c.memory.out.data(); },
     "gmm: out [6, 4] overlaps rhs scales [3, 2, 2]; give out memory of its own"},
    {"Bias", [](auto& c) { c.args.bias.data = c.memory.out.data() + 40; },
     "gmm: out [6, 4] overlaps bias [3, 4]; give out memory of its own"},
    {"Groups", [](auto& c) { c.args.out.data = c.memory.sizes.data() + 2; },
     "gmm: out [6, 4] overlaps the group numbers; give out memory of its own"},
    {"GroupSizes",
     [](auto& c) {
       static constexpr std::int32_t kStarts[] = {0, 2, 2};
       c.args.groups = {Groups::Kind::starts_and_sizes, Groups::Index::i32, kStarts, c.memory.sizes.data(), 3};
       c.args.out.data = c.memory.sizes.data();
     },
     "gmm: out [6, 4] overlaps the group sizes; give out memory of its own"},
};

const std::vector<BadCall<GmmCall>> kGroupNumbers = {
    {"NegativeSize", [](auto& c) { c.memory.sizes[1] = -1; }, "gmm: group size 1 is -1; sizes are 0 or more"},
    {"TooManyRows", [](auto& c) { c.memory.sizes[1] = 1; },
     "gmm: group sizes sum to 7; there are 6 rows, and the sum may be no larger"},
    {"PerGroupScaleRows",
     [](auto& c) { c.args.lhs.scales = {matrix(c.memory.lhs_scales.data(), Format::f32, 6, 2), 3, 4, ScaleOrigin::per_group}; },
     "gmm: lhs scales are [6, 2]; lhs [6, 8] in 3 groups with per_group block 3x4 needs 3 rows"},
    {"PerGroupWholeAxisRows",
     [](auto& c) {
       c.args.lhs.scales = {matrix(c.memory.lhs_scales.data(), Format::f32, 2, 2), kWholeAxis, 4, ScaleOrigin::per_group};
     },
     "gmm: lhs scales are [2, 2]; lhs [6, 8] in 3 groups with per_group block *x4 needs 3 rows"},
};

const std::vector<BadCall<GmmCall>> kStrict = {
    {"Nan", [](auto& c) { strict_lhs(c, 3, kNan); },
     "gmm: lhs scales [1, 1] is nan; a strict call needs finite scales above zero"},
    {"Inf", [](auto& c) { strict_lhs(c, 0, kInf); },
     "gmm: lhs scales [0, 0] is inf; a strict call needs finite scales above zero"},
    {"Zero", [](auto& c) { strict_lhs(c, 11, 0); },
     "gmm: lhs scales [5, 1] is 0; a strict call needs finite scales above zero"},
    {"Negative", [](auto& c) { strict_rhs(c, 9, -1.5F); },
     "gmm: rhs scales [2, 0, 1] is -1.5; a strict call needs finite scales above zero"},
    {"Subnormal", [](auto& c) { strict_rhs(c, 0, 1e-40F); },
     "gmm: rhs scales [0, 0, 0] is 9.99995e-41, which products read as 0; a strict call needs finite scales above zero"},
    {"HalfNan",
     [](auto& c) {
       static constexpr std::array<std::uint16_t, 12> kScales = {0x3f80, 0x3f80, 0x7fc0};
       c.args.lhs.scales.view = matrix(kScales.data(), Format::bf16, 6, 2);
       c.options.strictness = Strictness::strict;
     },
     "gmm: lhs scales [1, 0] is nan; a strict call needs finite scales above zero"},
    {"PowerOfTwoNan",
     [](auto& c) {
       static constexpr std::array<std::uint8_t, 12> kScales = {0, 127, 254, 255};
       c.args.lhs.scales.view = matrix(kScales.data(), Format::e8m0, 6, 2);
       c.options.strictness = Strictness::strict;
     },
     "gmm: lhs scales [1, 1] is nan; a strict call needs finite scales above zero"},
};

const std::vector<BadCall<TgmmCall>> kTgmm = {
    {"NullRhs", [](auto& c) { c.args.rhs.values.data = nullptr; }, "tgmm: rhs [6, 4]: data is null; give it"},
    {"NullOut", [](auto& c) { c.args.out.data = nullptr; }, "tgmm: out [3, 8, 4]: data is null; give it"},
    {"OverlapRhs", [](auto& c) { c.args.rhs.values.data = c.memory.out.data() + 383; },
     "tgmm: out [3, 8, 4] overlaps rhs [6, 4]; give out memory of its own"},
    {"OverlapScales", [](auto& c) { c.args.lhs.scales.view.data = c.memory.out.data(); },
     "tgmm: out [3, 8, 4] overlaps lhs scales [3, 8]; give out memory of its own"},
    {"ScaleRows", [](auto& c) { c.args.rhs.scales.view.rows = 4; },
     "tgmm: rhs scales are [4, 4]; rhs [6, 4] in 3 groups with per_group block 2x1 needs 3 rows"},
    {"TooManyRows", [](auto& c) { c.memory.sizes[0] = 3; },
     "tgmm: group sizes sum to 7; there are 6 rows, and the sum may be no larger"},
    {"StrictLhs", [](auto& c) { strict_lhs(c, 16, kNan); },
     "tgmm: lhs scales [2, 0] is nan; a strict call needs finite scales above zero"},
    {"StrictRhs", [](auto& c) { strict_rhs(c, 3, -kInf); },
     "tgmm: rhs scales [0, 3] is -inf; a strict call needs finite scales above zero"},
};

template <class Case>
std::string case_name(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Null, BadGmmBuffers, testing::ValuesIn(kNull), case_name<BadCall<GmmCall>>);
INSTANTIATE_TEST_SUITE_P(Overlap, BadGmmBuffers, testing::ValuesIn(kOverlap), case_name<BadCall<GmmCall>>);
INSTANTIATE_TEST_SUITE_P(Groups, BadGmmBuffers, testing::ValuesIn(kGroupNumbers), case_name<BadCall<GmmCall>>);
INSTANTIATE_TEST_SUITE_P(Strict, BadGmmBuffers, testing::ValuesIn(kStrict), case_name<BadCall<GmmCall>>);
INSTANTIATE_TEST_SUITE_P(All, BadTgmmBuffers, testing::ValuesIn(kTgmm), case_name<BadCall<TgmmCall>>);

TEST(CheckMemory, OutMayBeAColumnSliceBesideAnInput) {
  GmmCall c;
  c.args.out.row_stride = 6;
  c.args.lhs.values.data = c.memory.out.data() + 4 * sizeof(float);
  c.args.lhs.values.row_stride = 6 * sizeof(float);
  EXPECT_EQ(c.call().message(), "");
}

TEST(CheckMemory, AnAbsentViewMayHoldAnything) {
  constexpr std::int64_t kFar = 1LL << 62;
  const ConstView absent{nullptr, Format::none, -1, -1, kFar, kFar, -kFar, kFar};
  GmmCall gmm;
  gmm.args.bias = gmm.args.lhs.scales.view = gmm.args.rhs.scales.view = absent;
  gmm.args.activation = Activation::relu;  // the way of a bias, whose steps only UBSan sees overflow
  EXPECT_EQ(gmm.call().message(), "");
  TgmmCall tgmm;
  tgmm.args.lhs.scales.view = tgmm.args.rhs.scales.view = absent;
  EXPECT_EQ(tgmm.call().message(), "");
}

TEST(CheckMemory, AnAxisOfOneElementMayHaveAnyStride) {
  constexpr std::int64_t kFar = 1LL << 57;
  GmmCall c;
  c.memory.sizes = {1, 0, 0};
  c.memory.lhs.fill(std::byte{0x38});  // 1 in e4m3
  c.memory.rhs.fill(std::byte{0x38});
  c.args.lhs.values.rows = c.args.lhs.scales.view.rows = c.args.out.rows = 1;
  EXPECT_EQ(c.call().message(), "");
  const auto expected = c.memory.out;
  EXPECT_FALSE(c.memory.untouched());
  c.memory.out.fill(Buffers::kUntouched);
  c.args.lhs.values.row_stride = c.args.lhs.scales.view.row_stride = c.args.out.row_stride = kFar;
  c.args.lhs.values.batch_stride = c.args.out.batch_stride = kFar;
  EXPECT_EQ(c.call().message(), "");
  EXPECT_EQ(c.memory.out, expected);
}

TEST(CheckStrictScales, LeavesOutScalesThatNoRowUses) {
  GmmCall c;
  c.memory.sizes = {2, 0, 3};  // row 5 belongs to no group
  strict_lhs(c, 10, kNan);
  EXPECT_EQ(c.call().message(), "");
  c.memory.sizes = {2, 0, 4};
  EXPECT_NE(c.call().message(), "");
  c.args.first_group = 1;  // groups 1 and 2: rows 2 to 5
  c.args.rhs.values.batch = c.args.rhs.scales.view.batch = c.args.bias.rows = 2;
  EXPECT_NE(c.call().message(), "");
  c.memory.lhs_scales[10] = 1;
  strict_lhs(c, 3, kNan);
  EXPECT_EQ(c.call().message(), "");
}

TEST(CheckStrictScales, LeavesOutWeightsOfEmptyGroups) {
  GmmCall c;
  c.memory.sizes = {2, 0, 4};
  strict_rhs(c, 5, kNan);  // of matrix 1, whose scales are four
  EXPECT_EQ(c.call().message(), "");
  c.memory.sizes = {2, 1, 3};
  EXPECT_EQ(c.call().message(), "gmm: rhs scales [1, 0, 1] is nan; a strict call needs finite scales above zero");
  c.memory.rhs_scales[5] = 1;
  strict_rhs(c, 4, kNan);
  c.args.first_group = 1;  // matrix 1 is that of group 2
  c.args.rhs.values.batch = c.args.rhs.scales.view.batch = c.args.bias.rows = 2;
  c.memory.sizes = {2, 0, 4};
  EXPECT_NE(c.call().message(), "");
  c.memory.sizes = {2, 4, 0};
  EXPECT_EQ(c.call().message(), "");
}

TEST(CheckStrictScales, FollowsPerGroupRows) {
  TgmmCall c;
  c.args.first_group = 2;  // its rows have scale rows 1 and 2
  c.args.out.batch = 1;
  strict_lhs(c, 7, kNan);
  EXPECT_EQ(c.call().message(), "");
  strict_lhs(c, 8, kNan);
  EXPECT_EQ(c.call().message(), "tgmm: lhs scales [1, 0] is nan; a strict call needs finite scales above zero");
}

TEST(CheckStrictScales, TakesTheSmallestPowerOfTwoOnlyWhereItIsExact) {
  static constexpr std::array<std::uint8_t, 12> kScales = {};
  GmmCall c;
  c.options.strictness = Strictness::strict;
  c.args.lhs.scales.view = matrix(kScales.data(), Format::e8m0, 6, 2);
  EXPECT_EQ(c.call().message(), "");
  c.args.lhs.values.format = c.args.rhs.values.format = Format::i8;
  EXPECT_EQ(c.call().message(),
            "gmm: lhs scales [0, 0] is 5.87747e-39, which products read as 0; a strict call needs finite scales above zero");
}

TEST(CheckStrictScales, IsOffByDefault) {
  GmmCall c;
  c.memory.lhs_scales[0] = kNan;
  EXPECT_EQ(c.call().message(), "");
}

}  // namespace
}  // namespace ragdot::api
