// The catalogue of bad calls of the quantisers: each gets its sentence, and nothing is written.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "api/bad_calls.hpp"

namespace ragdot::api {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

/// input [6, 8] of f32, groups of 2, 0 and 4 rows, two copies with per_group blocks 1x4 and 2x1; all that is written lies in
/// one buffer that notices.
struct QuantizeCall {
  alignas(8) std::array<float, 64> input{};
  std::array<float, 64> given{};
  std::array<std::int32_t, 3> sizes = {2, 0, 4};
  std::array<std::byte, 1024> written{};
  QuantizeBothArgs args;
  Options options;

  QuantizeCall() {
    input.fill(1.5F);
    given.fill(1);
    written.fill(Buffers::kUntouched);
    args.input = matrix(static_cast<const void*>(input.data()), Format::f32, 6, 8);
    args.groups = Groups::from_sizes(std::span<const std::int32_t>(sizes));
    args.row_wise = {matrix(place(0), Format::e4m3, 6, 8), {matrix(place(128), Format::f32, 6, 2), 1, 4}};
    args.col_wise = {matrix(place(512), Format::e5m2, 6, 8), {matrix(place(640), Format::f32, 3, 8), 2, 1}};
  }
  void* place(std::size_t at) { return &written.at(at); }
  /// The column-wise copy takes given scales.
  void give_scales() {
    args.col_wise.recipe = Recipe::fixed;
    args.col_wise.scales.view.data = given.data();
  }
  Status call() { return quantize_both(args, options); }
  [[nodiscard]] bool untouched() const {
    return std::all_of(written.begin(), written.end(), [](std::byte b) { return b == Buffers::kUntouched; });
  }
};

/// input [6, 8] of e4m3 with per_group scales 2x4 in groups of 2, 0 and 4 rows; out f32.
struct DequantizeCall {
  std::array<std::uint8_t, 64> input{};
  std::array<float, 16> scales{};
  std::array<std::int32_t, 3> sizes = {2, 0, 4};
  std::array<std::byte, 1024> written{};
  DequantizeArgs args;
  Options options;

  DequantizeCall() {
    scales.fill(1);
    written.fill(Buffers::kUntouched);
    args.input = matrix(static_cast<const void*>(input.data()), Format::e4m3, 6, 8);
    args.input.scales = {matrix(static_cast<const void*>(scales.data()), Format::f32, 3, 2), 2, 4, ScaleOrigin::per_group};
    args.groups = Groups::from_sizes(std::span<const std::int32_t>(sizes));
    args.out = matrix(static_cast<void*>(written.data()), Format::f32, 6, 8);
  }
  Status call() { return dequantize(args, options); }
  [[nodiscard]] bool untouched() const {
    return std::all_of(written.begin(), written.end(), [](std::byte b) { return b == Buffers::kUntouched; });
  }
};

class BadQuantize : public testing::TestWithParam<BadCall<QuantizeCall>> {};
class BadDequantize : public testing::TestWithParam<BadCall<DequantizeCall>> {};

template <class Call>
void expect_sentence(const BadCall<Call>& bad) {
  Call c;
  ASSERT_TRUE(c.call().ok());
  c.written.fill(Buffers::kUntouched);
  bad.broken(c);
  const Status status = c.call();
  EXPECT_EQ(status.message(), bad.message);
  EXPECT_EQ(status.code(), bad.code);
  EXPECT_TRUE(c.untouched());
}

TEST_P(BadQuantize, GetsItsSentence) { expect_sentence(GetParam()); }
TEST_P(BadDequantize, GetsItsSentence) { expect_sentence(GetParam()); }

const std::vector<BadCall<QuantizeCall>> kShapes = {
    {"InputAbsent", [](auto& c) { c.args.input.format = Format::none; },
     "quantize_both: input is absent (format none); give it"},
    {"InputNoFormat", [](auto& c) { c.args.input.format = static_cast<Format>(99); },
     "quantize_both: input: format is 99; the formats are 0 (none) to 7 (e8m0)"},
    {"InputQuantised", [](auto& c) { c.args.input.format = Format::e4m3; },
     "quantize_both: input is e4m3; give f32, bf16 or f16, or use requantize"},
    {"InputNegative", [](auto& c) { c.args.input.rows = -1; }, "quantize_both: input [1, -1, 8]: no dimension may be negative"},
    {"InputNull", [](auto& c) { c.args.input.data = nullptr; }, "quantize_both: input [1, 6, 8]: data is null; give it"},
    {"InputBatch",
     [](auto& c) {
       c.args.input.batch = 2;
       c.args.input.batch_stride = 48;
     },
     "quantize_both: input is [2, 6, 8] and groups are given; groups need one matrix"},
    {"ValuesFormat", [](auto& c) { c.args.row_wise.values.format = Format::bf16; },
     "quantize_both: row_wise is bf16; quantised values are e4m3, e5m2 or i8"},
    {"ValuesShape", [](auto& c) { c.args.row_wise.values.cols = 7; },
     "quantize_both: row_wise is [1, 6, 7] and input is [1, 6, 8]; give them one shape"},
    {"ValuesOverlapThemselves", [](auto& c) { c.args.row_wise.values.row_stride = 4; },
     "quantize_both: row_wise [1, 6, 8] with strides [0, 4, 1]: the row stride must be at least 8, or elements overlap"},
    {"ValuesNull", [](auto& c) { c.args.col_wise.values.data = nullptr; },
     "quantize_both: col_wise [1, 6, 8]: data is null; give it"},
    {"ScalesAbsent", [](auto& c) { c.args.row_wise.scales.view.format = Format::none; },
     "quantize_both: row_wise has no scales; give a view for them"},
    {"ScalesFormat", [](auto& c) { c.args.row_wise.scales.view.format = Format::f16; },
     "quantize_both: row_wise scales are f16; they must be f32, bf16 or e8m0"},
    {"ScalesNull", [](auto& c) { c.args.row_wise.scales.view.data = nullptr; },
     "quantize_both: row_wise scales [1, 6, 2]: data is null; give it"},
    {"ScaleColumns", [](auto& c) { c.args.row_wise.scales.view = matrix(c.place(128), Format::f32, 6, 3); },
     "quantize_both: row_wise scales are [1, 6, 3]; row_wise [1, 6, 8] with block 1x4 needs 2 columns"},
    {"ScaleRows", [](auto& c) { c.args.col_wise.scales.view.rows = 4; },
     "quantize_both: col_wise scales are [1, 4, 8]; col_wise [1, 6, 8] in 3 groups with per_group block 2x1 needs 3 rows"},
    {"ScaleRowsWithoutGroups",
     [](auto& c) {
       c.args.groups.reset();
       c.args.col_wise.scales.view.rows = 2;
     },
     "quantize_both: col_wise scales are [1, 2, 8]; col_wise [1, 6, 8] with block 2x1 needs [1, 3, 8]"},
    {"Block", [](auto& c) { c.args.row_wise.scales.block_cols = 0; },
     "quantize_both: row_wise scales have block 1x0; a block is 1 or more, kWholeAxis (in C RAGDOT_WHOLE_AXIS) for the whole "
     "axis"},
};

const std::vector<BadCall<QuantizeCall>> kChoices = {
    {"Recipe", [](auto& c) { c.args.row_wise.recipe = static_cast<Recipe>(4); },
     "quantize_both: recipe is 4; it must be 0 (absmax), 1 (pow2), 2 (mx) or 3 (fixed)"},
    {"AbsmaxAsE8m0", [](auto& c) { c.args.row_wise.scales.view.format = Format::e8m0; },
     "quantize_both: recipe absmax gives scales that are no powers of two and row_wise scales are e8m0; use recipe pow2 or mx, "
     "or f32 or bf16 scales",
     Code::unsupported},
    {"MxOfI8",
     [](auto& c) {
       c.args.row_wise.values.format = Format::i8;
       c.args.row_wise.recipe = Recipe::mx;
     },
     "quantize_both: recipe mx is for e4m3 and e5m2 and row_wise is i8; use recipe pow2", Code::unsupported},
    {"Threads", [](auto& c) { c.options.threads = -2; }, "quantize_both: threads is -2; it must be 1 or more, or 0 for all"},
    {"Strictness", [](auto& c) { c.options.strictness = static_cast<Strictness>(7); },
     "quantize_both: strictness is 7; it must be 0 (ieee) or 1 (strict)"},
    {"GroupsForm", [](auto& c) { c.args.groups->kind = static_cast<Groups::Kind>(4); },
     "quantize_both: groups.kind is 4; it must be 0 (sizes), 1 (ends), 2 (offsets) or 3 (starts_and_sizes)"},
    {"GroupsNull",
     [](auto& c) {
       c.args.groups->data = nullptr;
       c.args.groups->count = std::int64_t{1} << 40;
     },
     "quantize_both: group sizes are null; 1099511627776 numbers are needed"},
    {"GroupsCount", [](auto& c) { c.args.groups->count = -1; },
     "quantize_both: groups.count is -1; it must be 0 or more and below 2^50"},
    {"GroupsSum", [](auto& c) { c.sizes[1] = 1; },
     "quantize_both: group sizes sum to 7; there are 6 rows, and the sum may be no larger"},
    {"GroupSizeNegative", [](auto& c) { c.sizes[1] = -3; }, "quantize_both: group size 1 is -3; sizes are 0 or more"},
};

const std::vector<BadCall<QuantizeCall>> kMemory = {
    {"ValuesOnInput", [](auto& c) { c.args.row_wise.values.data = c.input.data(); },
     "quantize_both: row_wise [1, 6, 8] and input [1, 6, 8] overlap; give out memory of its own"},
    {"ScalesOnInput", [](auto& c) { c.args.row_wise.scales.view.data = &c.input[4]; },
     "quantize_both: row_wise scales [1, 6, 2] and input [1, 6, 8] overlap; give out memory of its own"},
    {"ScalesOnValues", [](auto& c) { c.args.row_wise.scales.view.data = c.place(8); },
     "quantize_both: row_wise [1, 6, 8] and row_wise scales [1, 6, 2] overlap; give out memory of its own"},
    {"CopiesOnEachOther", [](auto& c) { c.args.col_wise.values.data = c.place(40); },
     "quantize_both: row_wise [1, 6, 8] and col_wise [1, 6, 8] overlap; give out memory of its own"},
    {"ValuesOnOtherScales", [](auto& c) { c.args.row_wise.values.data = c.place(700); },
     "quantize_both: row_wise [1, 6, 8] and col_wise scales [1, 3, 8] overlap; give out memory of its own"},
    {"ScalesOnOtherValues", [](auto& c) { c.args.row_wise.scales.view.data = c.place(540); },
     "quantize_both: row_wise scales [1, 6, 2] and col_wise [1, 6, 8] overlap; give out memory of its own"},
    {"ScalesOnOtherScales", [](auto& c) { c.args.row_wise.scales.view.data = c.place(640); },
     "quantize_both: row_wise scales [1, 6, 2] and col_wise scales [1, 3, 8] overlap; give out memory of its own"},
    {"ValuesOnGroups", [](auto& c) { c.args.row_wise.values.data = c.sizes.data(); },
     "quantize_both: row_wise [1, 6, 8] and the group numbers overlap; give out memory of its own"},
    {"ScalesOnGroups", [](auto& c) { c.args.row_wise.scales.view.data = c.sizes.data(); },
     "quantize_both: row_wise scales [1, 6, 2] and the group numbers overlap; give out memory of its own"},
};

const std::vector<BadCall<QuantizeCall>> kNumbers = {
    {"NanForI8",
     [](auto& c) {
       c.args.row_wise.values.format = Format::i8;
       c.input[19] = kNan;
     },
     "quantize_both: input [0, 2, 3] is NaN; i8 has none; replace it, or quantise to e4m3 or e5m2"},
    {"StrictInf",
     [](auto& c) {
       c.options.strictness = Strictness::strict;
       c.input[47] = -kInf;
     },
     "quantize_both: input [0, 5, 7] is Inf; a strict call takes finite elements; replace it, or call without strict to "
     "saturate"},
    {"StrictGivenScale",
     [](auto& c) {
       c.give_scales();
       c.given[3] = -2;
       c.options.strictness = Strictness::strict;
     },
     "quantize_both: col_wise scales [0, 0, 3] is -2; a strict call needs finite scales above zero"},
    {"GivenZeroForI8",
     [](auto& c) {
       c.give_scales();
       c.args.col_wise.values.format = Format::i8;
       c.given[9] = 0;
     },
     "quantize_both: col_wise scales [0, 1, 1] is 0; i8 has no NaN, give finite scales that are not zero"},
    {"GivenNanForI8",
     [](auto& c) {
       c.give_scales();
       c.args.col_wise.values.format = Format::i8;
       c.given[23] = kNan;
     },
     "quantize_both: col_wise scales [0, 2, 7] is nan; i8 has no NaN, give finite scales that are not zero"},
    {"GivenInfForI8",
     [](auto& c) {
       c.give_scales();
       c.args.col_wise.values.format = Format::i8;
       c.given[0] = kInf;
     },
     "quantize_both: col_wise scales [0, 0, 0] is inf; i8 has no NaN, give finite scales that are not zero"},
};

const std::vector<BadCall<DequantizeCall>> kDequantize = {
    {"InputE8m0",
     [](auto& c) {
       c.args.input.values.format = Format::e8m0;
       c.args.input.scales = {};
     },
     "dequantize: input is e8m0, a format of scales; give values of another format"},
    {"ScalesOfF32", [](auto& c) { c.args.input.values.format = Format::f32; },
     "dequantize: input is f32 and has scales; scales belong to e4m3, e5m2 and i8, leave them out"},
    {"PerGroupWithoutGroups", [](auto& c) { c.args.groups.reset(); },
     "dequantize: input scales have origin per_group and no groups are given; give the groups"},
    {"ScaleRows", [](auto& c) { c.args.input.scales.view.rows = 4; },
     "dequantize: input scales are [1, 4, 2]; input [1, 6, 8] in 3 groups with per_group block 2x4 needs 3 rows"},
    {"Out", [](auto& c) { c.args.out.format = Format::i8; }, "dequantize: out is i8; it must be f32, bf16 or f16"},
    {"OutShape", [](auto& c) { c.args.out.rows = 5; },
     "dequantize: out is [1, 5, 8] and input is [1, 6, 8]; give them one shape"},
    {"OutNull", [](auto& c) { c.args.out.data = nullptr; }, "dequantize: out [1, 6, 8]: data is null; give it"},
    {"OutOnInput", [](auto& c) { c.args.out.data = c.input.data(); },
     "dequantize: out [1, 6, 8] and input [1, 6, 8] overlap; give out memory of its own"},
    {"OutOnScales", [](auto& c) { c.args.out.data = c.scales.data(); },
     "dequantize: out [1, 6, 8] and input scales [1, 3, 2] overlap; give out memory of its own"},
    {"OutOnGroups", [](auto& c) { c.args.out.data = c.sizes.data(); },
     "dequantize: out [1, 6, 8] and the group numbers overlap; give out memory of its own"},
    {"StrictScale",
     [](auto& c) {
       c.options.strictness = Strictness::strict;
       c.scales[2] = 1e-40F;
     },
     "dequantize: input scales [0, 1, 0] is 9.99995e-41, which products read as 0; a strict call needs finite scales above "
     "zero"},
};

template <class Bad>
std::string case_name(const testing::TestParamInfo<Bad>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Shapes, BadQuantize, testing::ValuesIn(kShapes), case_name<BadCall<QuantizeCall>>);
INSTANTIATE_TEST_SUITE_P(Choices, BadQuantize, testing::ValuesIn(kChoices), case_name<BadCall<QuantizeCall>>);
INSTANTIATE_TEST_SUITE_P(Memory, BadQuantize, testing::ValuesIn(kMemory), case_name<BadCall<QuantizeCall>>);
INSTANTIATE_TEST_SUITE_P(Numbers, BadQuantize, testing::ValuesIn(kNumbers), case_name<BadCall<QuantizeCall>>);
INSTANTIATE_TEST_SUITE_P(Calls, BadDequantize, testing::ValuesIn(kDequantize), case_name<BadCall<DequantizeCall>>);

TEST(LegalQuantize, GivenScalesMayBeSharedAndUnusedOnesHoldAnything) {
  QuantizeCall c;
  c.give_scales();
  c.args.row_wise = c.args.col_wise;
  c.args.row_wise.values.data = c.place(0);
  EXPECT_TRUE(c.call().ok());
  // One scale row for each group; the second group is empty.
  c.args.row_wise.values.format = Format::i8;
  c.args.row_wise.scales.block_rows = kWholeAxis;
  c.args.row_wise.scales.view = matrix(static_cast<void*>(&c.given[24]), Format::f32, 3, 8);
  c.given[35] = kNan;
  c.options.strictness = Strictness::strict;
  const Status status = c.call();
  EXPECT_TRUE(status.ok()) << status.message();
}

/// Products of i8 take code 0 for zero; dequantize and requantize do not.
TEST(LegalDequantize, TakesTheSmallestPowerOfTwoOfI8WhereItIsStrict) {
  static constexpr std::array<std::uint8_t, 6> kScales = {};
  DequantizeCall c;
  c.input.fill(1);
  c.args.input.values.format = Format::i8;
  c.args.input.scales.view = matrix(static_cast<const void*>(kScales.data()), Format::e8m0, 3, 2);
  c.options.strictness = Strictness::strict;
  const Status status = c.call();
  EXPECT_TRUE(status.ok()) << status.message();
  float first = 0;
  std::memcpy(&first, c.written.data(), sizeof first);
  EXPECT_EQ(first, 0x1p-127F);
}

TEST(BadToE8m0, GetsItsSentence) {
  std::array<float, 8> scales{};
  scales.fill(2);
  std::array<std::uint8_t, 64> codes{};
  const ConstView from = matrix(static_cast<const void*>(scales.data()), Format::f32, 2, 4);
  const View to = matrix(static_cast<void*>(codes.data()), Format::e8m0, 2, 4);
  EXPECT_TRUE(to_e8m0(from, to).ok());
  View wrong = to;
  wrong.format = Format::bf16;
  EXPECT_EQ(to_e8m0(from, wrong).message(), "to_e8m0: scales are f32 and codes are bf16; give f32 and e8m0");
  EXPECT_EQ(to_e8m0(from, to.transposed()).message(),
            "to_e8m0: codes are [1, 4, 2] and scales are [1, 2, 4]; give them one shape");
  wrong = to;
  wrong.data = scales.data();
  EXPECT_EQ(to_e8m0(from, wrong).message(),
            "to_e8m0: codes [1, 2, 4] and scales [1, 2, 4] overlap; give out memory of its own");
  EXPECT_EQ(to_e8m0({}, to).message(), "to_e8m0: scales is absent (format none); give it");
}

}  // namespace
}  // namespace ragdot::api
