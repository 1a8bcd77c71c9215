// The catalogue of bad gmm and tgmm calls that shapes and choices decide: each gets its sentence, and out stays untouched.
#include "api/validate.hpp"

#include <gtest/gtest.h>

#include "api/bad_calls.hpp"

namespace ragdot::api {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

class BadGmm : public testing::TestWithParam<BadCall<GmmCall>> {};
class BadTgmm : public testing::TestWithParam<BadCall<TgmmCall>> {};

TEST_P(BadGmm, GetsItsSentence) {
  GmmCall c;
  GetParam().broken(c);
  const Status status = c.call();
  EXPECT_EQ(status.message(), GetParam().message);
  EXPECT_EQ(status.code(), GetParam().code);
  EXPECT_TRUE(c.memory.untouched());
}

TEST_P(BadTgmm, GetsItsSentence) {
  TgmmCall c;
  GetParam().broken(c);
  const Status status = c.call();
  EXPECT_EQ(status.message(), GetParam().message);
  EXPECT_EQ(status.code(), GetParam().code);
  EXPECT_TRUE(c.memory.untouched());
}

TEST(GoodCall, IsNotRefused) {
  GmmCall g;
  EXPECT_EQ(g.call().message(), "");
  EXPECT_FALSE(g.memory.untouched());
  TgmmCall t;
  EXPECT_EQ(t.call().message(), "");
  EXPECT_FALSE(t.memory.untouched());
}

constexpr auto kBadFormat = static_cast<Format>(9);

const std::vector<BadCall<GmmCall>> kViews = {
    {"LhsAbsent", [](auto& c) { c.args.lhs = {}; }, "gmm: lhs is absent (format none); give it"},
    {"RhsAbsent", [](auto& c) { c.args.rhs = {}; }, "gmm: neither rhs nor packed_rhs is given; give one of them"},
    {"OutAbsent", [](auto& c) { c.args.out = {}; }, "gmm: out is absent (format none); give it"},
    {"LhsFormat", [](auto& c) { c.args.lhs.values.format = kBadFormat; },
     "gmm: lhs: format is 9; the formats are 0 (none) to 7 (e8m0)"},
    {"RhsScalesFormat", [](auto& c) { c.args.rhs.scales.view.format = kBadFormat; },
     "gmm: rhs scales: format is 9; the formats are 0 (none) to 7 (e8m0)"},
    {"BiasFormatNumber", [](auto& c) { c.args.bias.format = static_cast<Format>(-1); },
     "gmm: bias: format is -1; the formats are 0 (none) to 7 (e8m0)"},
    {"NegativeRows", [](auto& c) { c.args.lhs.values.rows = -6; }, "gmm: lhs [-6, 8]: no dimension may be negative"},
    {"NegativeCols", [](auto& c) { c.args.rhs.values.cols = -4; }, "gmm: rhs [3, 8, -4]: no dimension may be negative"},
    {"NegativeRowsOfNothing", [](auto& c) { c.args.lhs.values.rows = -6, c.args.lhs.values.batch = 0; },
     "gmm: lhs [-6, 8]: no dimension may be negative"},
    {"NegativeBatch", [](auto& c) { c.args.out.batch = -1; }, "gmm: out [-1, 6, 4]: no dimension may be negative"},
    {"NegativeScaleRows", [](auto& c) { c.args.lhs.scales.view.rows = -1; },
     "gmm: lhs scales [-1, 2]: no dimension may be negative"},
    {"LhsIsABatch", [](auto& c) { c.args.lhs.values.batch = 3; },
     "gmm: lhs: batch is 3; a single matrix is needed, with batch 1"},
    {"BytesOverflow", [](auto& c) { c.args.rhs.values = matrices(c.memory.rhs.data(), Format::e4m3, 8, 1 << 30, 1LL << 30); },
     "gmm: rhs [8, 1073741824, 1073741824] of e4m3: 2^63 bytes or more; give smaller dimensions"},
    {"BytesOverflowBesideAZero", [](auto& c) { c.args.lhs.values = {c.memory.lhs.data(), Format::e4m3, 1, kMax, 0, 0, 0, 1}; },
     "gmm: lhs [9223372036854775807, 0] of e4m3: 2^63 bytes or more; give smaller dimensions"},
    {"SpanOverflow", [](auto& c) { c.args.out.row_stride = 1LL << 60; },
     "gmm: out [6, 4] with strides [1152921504606846976, 1]: 2^62 bytes or more apart; give smaller strides"},
    {"SpanAtHalfOfTheAddresses", [](auto& c) { c.args.out.row_stride = 1LL << 58; },
     "gmm: out [6, 4] with strides [288230376151711744, 1]: 2^62 bytes or more apart; give smaller strides"},
    {"SpanOverflowOfAnUnusedAxis", [](auto& c) { c.args.out.batch_stride = std::numeric_limits<std::int64_t>::min(); },
     "gmm: out [6, 4] with strides [4, 1]: 2^62 bytes or more apart; give smaller strides"},
    {"LeadingDimension", [](auto& c) { c.args.lhs.values.row_stride = 7; },
     "gmm: lhs [6, 8] with strides [7, 1]: the row stride must be at least 8, or elements overlap"},
    {"LeadingDimensionOfColumns",
     [](auto& c) { c.args.lhs.values = matrix(c.memory.lhs.data(), Format::e4m3, 8, 6, 5).transposed(); },
     "gmm: lhs [6, 8] with strides [1, 5]: the column stride must be at least 6, or elements overlap"},
    {"BatchStride", [](auto& c) { c.args.rhs.values.batch_stride = 31; },
     "gmm: rhs [3, 8, 4] with strides [31, 4, 1]: the batch stride must be at least 32, or elements overlap"},
    {"StrideZero", [](auto& c) { c.args.rhs.values.batch_stride = 0; },
     "gmm: rhs [3, 8, 4] with strides [0, 4, 1]: the batch stride must be at least 1, or elements overlap"},
    {"StrideNegative", [](auto& c) { c.args.out.row_stride = -4; },
     "gmm: out [6, 4] with strides [-4, 1]: strides are 0 or more; copy what is walked backwards"},
    {"StrideOfScales", [](auto& c) { c.args.lhs.scales.view.row_stride = 1; },
     "gmm: lhs scales [6, 2] with strides [1, 1]: the column stride must be at least 6, or elements overlap"},
    {"NothingContiguous", [](auto& c) { c.args.lhs.values.row_stride = 16, c.args.lhs.values.col_stride = 2; },
     "gmm: lhs [6, 8] has strides [16, 2]; the row or the column stride must be 1, copy it into a dense matrix"},
};

const std::vector<BadCall<GmmCall>> kFormats = {
    {"Pair", [](auto& c) { c.args.rhs = matrices(c.memory.rhs.data(), Format::f32, 3, 8, 4); },
     "gmm: lhs e4m3 with rhs f32 is not offered; pairs are any two of bf16, e4m3 and e5m2, f32 with f32, i8 with i8; convert "
     "an "
     "operand",
     Code::unsupported},
    {"PairOfHalves",
     [](auto& c) {
       c.args.lhs = matrix(c.memory.lhs.data(), Format::f16, 6, 8);
       c.args.rhs = matrices(c.memory.rhs.data(), Format::f16, 3, 8, 4);
     },
     "gmm: lhs f16 with rhs f16 is not offered; pairs are any two of bf16, e4m3 and e5m2, f32 with f32, i8 with i8; convert an "
     "operand",
     Code::unsupported},
    {"ScaledBf16", [](auto& c) { c.args.lhs.values.format = Format::bf16; },
     "gmm: lhs is bf16 and has scales; scales belong to e4m3, e5m2 and i8, leave them out"},
    {"ScaledF32", [](auto& c) { c.args.rhs.values.format = Format::f32; },
     "gmm: rhs is f32 and has scales; scales belong to e4m3, e5m2 and i8, leave them out"},
    {"ScaleFormat", [](auto& c) { c.args.lhs.scales.view.format = Format::f16; },
     "gmm: lhs scales are f16; they must be f32, bf16 or e8m0"},
    {"OutFormat", [](auto& c) { c.args.out.format = Format::e4m3; }, "gmm: out is e4m3; it must be f32, bf16 or f16"},
    {"AccumulateFormat", [](auto& c) { c.args.out.format = Format::bf16, c.args.out_mode = OutMode::accumulate; },
     "gmm: out is bf16 and out_mode is accumulate; accumulate needs an f32 out"},
    {"BiasFormat", [](auto& c) { c.args.bias.format = Format::bf16; }, "gmm: bias is bf16; it must be f32"},
};

const std::vector<BadCall<GmmCall>> kDimensions = {
    {"InnerSizes", [](auto& c) { c.args.rhs = matrices(c.memory.rhs.data(), Format::e4m3, 3, 4, 8); },
     "gmm: inner sizes differ: lhs [6, 8] has K = 8, rhs [3, 4, 8] has K = 4; give rhs as [L, K, N], weights stored as [L, N, "
     "K] "
     "as their transposed view"},
    {"OutRows", [](auto& c) { c.args.out.rows = 5; }, "gmm: out is [5, 4]; lhs [6, 8] and rhs [3, 8, 4] need [6, 4]"},
    {"OutCols", [](auto& c) { c.args.out = matrix(c.memory.out.data(), Format::f32, 6, 8); },
     "gmm: out is [6, 8]; lhs [6, 8] and rhs [3, 8, 4] need [6, 4]"},
    {"BiasRows", [](auto& c) { c.args.bias.rows = 2; }, "gmm: bias is [2, 4]; rhs [3, 8, 4] needs [3, 4]"},
    {"BiasCols", [](auto& c) { c.args.bias.cols = 3; }, "gmm: bias is [3, 3]; rhs [3, 8, 4] needs [3, 4]"},
    {"FirstGroupNegative", [](auto& c) { c.args.first_group = -1; }, "gmm: first_group is -1; it must be 0 or more"},
    {"LocalGroupsTooMany", [](auto& c) { c.args.first_group = 1; },
     "gmm: rhs has 3 matrices for groups from first_group 1 on; there are 3 groups, first_group + L may be no more"},
    {"FirstGroupOverflow", [](auto& c) { c.args.first_group = kMax; },
     "gmm: rhs has 3 matrices for groups from first_group 9223372036854775807 on; there are 3 groups, first_group + L may be "
     "no "
     "more"},
};

const std::vector<BadCall<GmmCall>> kGrids = {
    {"RhsScaleCols", [](auto& c) { c.args.rhs.scales.view.cols = 1; },
     "gmm: rhs scales are [3, 2, 1]; rhs [3, 8, 4] with block 4x2 needs [3, 2, 2]"},
    {"RhsScaleBatch", [](auto& c) { c.args.rhs.scales.view.batch = 2; },
     "gmm: rhs scales are [2, 2, 2]; rhs [3, 8, 4] with block 4x2 needs [3, 2, 2]"},
    {"LhsScaleRows", [](auto& c) { c.args.lhs.scales.view.rows = 3; },
     "gmm: lhs scales are [3, 2]; lhs [6, 8] with block 1x4 needs [6, 2]"},
    {"ShortLastBlock", [](auto& c) { c.args.lhs.scales.block_cols = 3; },
     "gmm: lhs scales are [6, 2]; lhs [6, 8] with block 1x3 needs [6, 3]"},
    {"WholeAxis", [](auto& c) { c.args.lhs.scales.block_cols = kWholeAxis; },
     "gmm: lhs scales are [6, 2]; lhs [6, 8] with block 1x* needs [6, 1]"},
    {"BlockZero", [](auto& c) { c.args.lhs.scales.block_cols = 0; },
     "gmm: lhs scales have block 1x0; a block is 1 or more, kWholeAxis (in C RAGDOT_WHOLE_AXIS) for the whole axis"},
    {"BlockNegative", [](auto& c) { c.args.rhs.scales.block_rows = -128; },
     "gmm: rhs scales have block -128x2; a block is 1 or more, kWholeAxis (in C RAGDOT_WHOLE_AXIS) for the whole axis"},
    {"Origin", [](auto& c) { c.args.lhs.scales.origin = static_cast<ScaleOrigin>(2); },
     "gmm: lhs scales have origin 2; it must be 0 (global) or 1 (per_group)"},
    {"PerGroupRhs", [](auto& c) { c.args.rhs.scales.origin = ScaleOrigin::per_group; },
     "gmm: rhs scales have origin per_group, but no groups lie along the rows of rhs; use origin global"},
    {"PerGroupCols",
     [](auto& c) { c.args.lhs.scales = {matrix(c.memory.lhs_scales.data(), Format::f32, 6, 3), 1, 4, ScaleOrigin::per_group}; },
     "gmm: lhs scales are [6, 3]; lhs [6, 8] with block 1x4 needs 2 columns"},
    {"ScalesAreABatch", [](auto& c) { c.args.lhs.scales.view.batch = 2; },
     "gmm: lhs scales: batch is 2; a single matrix is needed, with batch 1"},
};

const std::vector<BadCall<GmmCall>> kChoices = {
    {"TilingZero", [](auto& c) { c.options.tiling = Tiling{64, 0, 64}; },
     "gmm: tiling is 64x0x64; every size is 1 or more, leave tiling empty to have it chosen"},
    {"TilingZeroRows", [](auto& c) { c.options.tiling = Tiling{0, 64, 64}; },
     "gmm: tiling is 0x64x64; every size is 1 or more, leave tiling empty to have it chosen"},
    {"TilingZeroColumns", [](auto& c) { c.options.tiling = Tiling{64, 64, 0}; },
     "gmm: tiling is 64x64x0; every size is 1 or more, leave tiling empty to have it chosen"},
    {"TilingNegative", [](auto& c) { c.options.tiling = Tiling{-1, 64, 64}; },
     "gmm: tiling is -1x64x64; every size is 1 or more, leave tiling empty to have it chosen"},
    {"Threads", [](auto& c) { c.options.threads = -2; }, "gmm: threads is -2; it must be 1 or more, or 0 for all"},
    {"Strictness", [](auto& c) { c.options.strictness = static_cast<Strictness>(2); },
     "gmm: strictness is 2; it must be 0 (ieee) or 1 (strict)"},
    {"Activation", [](auto& c) { c.args.activation = static_cast<Activation>(6); },
     "gmm: activation is 6; it must be 0 (none), 1 (relu), 2 (tanh), 3 (silu), 4 (gelu_tanh) or 5 (gelu_erf)"},
    {"RowsOutside", [](auto& c) { c.args.rows_outside = static_cast<RowsOutside>(-1); },
     "gmm: rows_outside is -1; it must be 0 (zero) or 1 (leave)"},
    {"OutMode", [](auto& c) { c.args.out_mode = static_cast<OutMode>(2); },
     "gmm: out_mode is 2; it must be 0 (overwrite) or 1 (accumulate)"},
    {"GroupsKind", [](auto& c) { c.args.groups.kind = static_cast<Groups::Kind>(4); },
     "gmm: groups.kind is 4; it must be 0 (sizes), 1 (ends), 2 (offsets) or 3 (starts_and_sizes)"},
    {"GroupsIndex", [](auto& c) { c.args.groups.index = static_cast<Groups::Index>(2); },
     "gmm: groups.index is 2; it must be 0 (i32) or 1 (i64)"},
    {"GroupsCountNegative", [](auto& c) { c.args.groups = Groups::from_offsets(std::span<const std::int32_t>()); },
     "gmm: groups.count is -1; it must be 0 or more and below 2^50"},
    {"GroupsCountOneTooMany", [](auto& c) { c.args.groups.count = std::int64_t{1} << 50; },
     "gmm: groups.count is 1125899906842624; it must be 0 or more and below 2^50"},
    {"GroupsCountHuge", [](auto& c) { c.args.groups.count = kMax; },
     "gmm: groups.count is 9223372036854775807; it must be 0 or more and below 2^50"},
};

const std::vector<BadCall<TgmmCall>> kTgmm = {
    {"LhsAbsent", [](auto& c) { c.args.lhs = {}; }, "tgmm: lhs is absent (format none); give it"},
    {"RhsAbsent", [](auto& c) { c.args.rhs = {}; }, "tgmm: rhs is absent (format none); give it"},
    {"RhsIsABatch", [](auto& c) { c.args.rhs.values.batch = 2; },
     "tgmm: rhs: batch is 2; a single matrix is needed, with batch 1"},
    {"LhsRowsOverlap", [](auto& c) { c.args.lhs.values.row_stride = 7; },
     "tgmm: lhs [6, 8] with strides [7, 1]: the row stride must be at least 8, or elements overlap"},
    {"RowCounts", [](auto& c) { c.args.rhs.values.rows = 5; },
     "tgmm: row counts differ: lhs [6, 8] has M = 6, rhs [5, 4] has M = 5; give both with the same rows"},
    {"OutShape", [](auto& c) { c.args.out = matrices(c.memory.out.data(), Format::f32, 3, 4, 8); },
     "tgmm: out is [3, 4, 8]; lhs [6, 8] and rhs [6, 4] need [L, 8, 4]"},
    {"OutFormat", [](auto& c) { c.args.out.format = Format::i8; }, "tgmm: out is i8; it must be f32, bf16 or f16"},
    {"OutOverlapsItself", [](auto& c) { c.args.out.batch_stride = 4; },
     "tgmm: out [3, 8, 4] with strides [4, 4, 1]: the row stride must be at least 12, or elements overlap"},
    {"AccumulateFormat", [](auto& c) { c.args.out.format = Format::f16, c.args.out_mode = OutMode::accumulate; },
     "tgmm: out is f16 and out_mode is accumulate; accumulate needs an f32 out"},
    {"Pair", [](auto& c) { c.args.rhs = matrix(c.memory.rhs.data(), Format::i8, 6, 4); },
     "tgmm: lhs e4m3 with rhs i8 is not offered; pairs are any two of bf16, e4m3 and e5m2, f32 with f32, i8 with i8; convert "
     "an "
     "operand",
     Code::unsupported},
    {"LocalGroupsTooMany", [](auto& c) { c.args.first_group = 2; },
     "tgmm: out has 3 matrices for groups from first_group 2 on; there are 3 groups, first_group + L may be no more"},
    {"ScaleCols", [](auto& c) { c.args.rhs.scales.view.cols = 3; },
     "tgmm: rhs scales are [3, 3]; rhs [6, 4] with block 2x1 needs 4 columns"},
    {"GlobalScaleRows", [](auto& c) { c.args.lhs.scales.origin = ScaleOrigin::global, c.args.lhs.scales.block_rows = 4; },
     "tgmm: lhs scales are [3, 8]; lhs [6, 8] with block 4x1 needs [2, 8]"},
    {"Threads", [](auto& c) { c.options.threads = -1; }, "tgmm: threads is -1; it must be 1 or more, or 0 for all"},
    {"GroupsIndex", [](auto& c) { c.args.groups.index = static_cast<Groups::Index>(-1); },
     "tgmm: groups.index is -1; it must be 0 (i32) or 1 (i64)"},
};

template <class Case>
std::string case_name(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Views, BadGmm, testing::ValuesIn(kViews), case_name<BadCall<GmmCall>>);
INSTANTIATE_TEST_SUITE_P(Formats, BadGmm, testing::ValuesIn(kFormats), case_name<BadCall<GmmCall>>);
INSTANTIATE_TEST_SUITE_P(Dimensions, BadGmm, testing::ValuesIn(kDimensions), case_name<BadCall<GmmCall>>);
INSTANTIATE_TEST_SUITE_P(Grids, BadGmm, testing::ValuesIn(kGrids), case_name<BadCall<GmmCall>>);
INSTANTIATE_TEST_SUITE_P(Choices, BadGmm, testing::ValuesIn(kChoices), case_name<BadCall<GmmCall>>);
INSTANTIATE_TEST_SUITE_P(Shapes, BadTgmm, testing::ValuesIn(kTgmm), case_name<BadCall<TgmmCall>>);

TEST(CheckShapes, StridesOfAnAxisOfOneDoNotMatter) {
  GmmCall c;
  c.args.lhs = ConstView{c.memory.lhs.data(), Format::e4m3, 1, 6, 1, -5, 7, 3};
  c.args.rhs = ConstView{c.memory.rhs.data(), Format::e4m3, 3, 1, 4, 40, -2, 9};
  EXPECT_EQ(c.call().message(), "");
}

TEST(CheckShapes, OneOfTheMatricesMayBeEmpty) {
  GmmCall c;  // K = 0
  c.args.lhs = matrix(static_cast<const void*>(nullptr), Format::e4m3, 6, 0);
  c.args.rhs = matrices(static_cast<const void*>(nullptr), Format::e4m3, 3, 0, 4);
  EXPECT_EQ(c.call().message(), "");
  EXPECT_FALSE(c.memory.untouched());
}

TEST(CheckShapes, InterleavedExpertsAreLegal) {
  GmmCall c;
  c.args.rhs.values.batch_stride = 4;  // stored [K, L, N]
  c.args.rhs.values.row_stride = 12;
  EXPECT_EQ(c.call().message(), "");
}

TEST(Results, AStatusThatIsOkIsNoReasonForAMissingValue) {
  const Result<int> none = Status();
  EXPECT_FALSE(none.ok());
  EXPECT_EQ(none.status().code(), Code::invalid_argument);
  EXPECT_EQ(none.status().message(), "a Result was made of a Status that is ok; give it a value or an error");
  EXPECT_TRUE(Result<int>(1).status().ok());
}

}  // namespace
}  // namespace ragdot::api
