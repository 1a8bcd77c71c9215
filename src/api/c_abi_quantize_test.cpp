// The C interface of the quantisers: the same results as the C++ calls, the same refusals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ragdot/ragdot.h"
#include "ragdot/ragdot.hpp"

namespace ragdot::api {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kRows = 6;
constexpr std::int64_t kCols = 8;

/// A matrix [6, 8] in groups of 2, 0 and 3 rows, and two quantised copies with per_group blocks 1x4 and 2x1.
struct Copies {
  std::vector<float> input;
  std::vector<std::int32_t> sizes = {2, 0, 3};
  std::vector<std::uint8_t> row_wise = std::vector<std::uint8_t>(kRows * kCols, 0xa5);
  std::vector<std::uint8_t> col_wise = row_wise;
  std::vector<float> row_scales = std::vector<float>(5 * 2, -1);
  std::vector<float> col_scales = std::vector<float>(3 * 8, -1);
  ragdot_groups groups{};
  ragdot_quantized_out row_out{};
  ragdot_quantized_out col_out{};

  Copies() {
    for (int i = 0; i < kRows * kCols; ++i) input.push_back(static_cast<float>(i * i % 37) - 11.5F);
    groups.data = sizes.data();
    groups.count = 3;
    row_out.values = ragdot_matrix(row_wise.data(), RAGDOT_E4M3, kRows, kCols, 0);
    row_out.scales = {ragdot_matrix(row_scales.data(), RAGDOT_F32, 5, 2, 0), 1, 4};
    col_out.values = ragdot_matrix(col_wise.data(), RAGDOT_E5M2, kRows, kCols, 0);
    col_out.scales = {ragdot_matrix(col_scales.data(), RAGDOT_F32, 3, 8, 0), 2, 1};
    col_out.recipe = RAGDOT_POW2;
  }
  [[nodiscard]] ragdot_const_view source() const { return ragdot_const_matrix(input.data(), RAGDOT_F32, kRows, kCols, 0); }
  [[nodiscard]] QuantizedOut cpp_row_out() {
    return {matrix(row_wise.data(), Format::e4m3, kRows, kCols), {matrix(row_scales.data(), Format::f32, 5, 2), 1, 4}};
  }
  [[nodiscard]] QuantizedOut cpp_col_out() {
    return {matrix(col_wise.data(), Format::e5m2, kRows, kCols),
            {matrix(col_scales.data(), Format::f32, 3, 8), 2, 1},
            Recipe::pow2};
  }
};

TEST(CAbiQuantize, WritesWhatTheCppCallsWrite) {
  Copies c;
  const ragdot_quantize_both_args args = {sizeof args, c.source(), &c.groups, c.row_out, c.col_out};
  ASSERT_EQ(ragdot_quantize_both(&args, nullptr), RAGDOT_OK) << ragdot_last_error();
  Copies cpp;
  QuantizeArgs rows;
  rows.input = matrix(static_cast<const void*>(cpp.input.data()), Format::f32, kRows, kCols);
  rows.groups = Groups::from_sizes(cpp.sizes);
  rows.out = cpp.cpp_row_out();
  ASSERT_TRUE(quantize(rows).ok());
  rows.out = cpp.cpp_col_out();
  ASSERT_TRUE(quantize(rows).ok());
  EXPECT_EQ(c.row_wise, cpp.row_wise);
  EXPECT_EQ(c.row_scales, cpp.row_scales);
  EXPECT_EQ(c.col_wise, cpp.col_wise);
  EXPECT_EQ(c.col_scales, cpp.col_scales);

  Copies alone;
  const ragdot_quantize_args one = {sizeof one, alone.source(), &alone.groups, alone.row_out};
  ASSERT_EQ(ragdot_quantize(&one, nullptr), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(alone.row_wise, cpp.row_wise);
}

TEST(CAbiQuantize, GoesThereAndBack) {
  Copies c;
  const ragdot_quantize_args there = {sizeof there, c.source(), &c.groups, c.row_out};
  ASSERT_EQ(ragdot_quantize(&there, nullptr), RAGDOT_OK) << ragdot_last_error();
  const ragdot_operand scaled = {
      ragdot_const_matrix(c.row_wise.data(), RAGDOT_E4M3, kRows, kCols, 0),
      {ragdot_const_matrix(c.row_scales.data(), RAGDOT_F32, 5, 2, 0), 1, 4, RAGDOT_ORIGIN_PER_GROUP}};
  std::vector<float> back(kRows * kCols, -1);
  const ragdot_dequantize_args dequantize_args = {sizeof dequantize_args, scaled, &c.groups,
                                                  ragdot_matrix(back.data(), RAGDOT_F32, kRows, kCols, 0)};
  ASSERT_EQ(ragdot_dequantize(&dequantize_args, nullptr), RAGDOT_OK) << ragdot_last_error();
  for (std::size_t i = 0; i < 5 * kCols; ++i) EXPECT_NEAR(back[i], c.input[i], 1.6);
  for (std::size_t i = 5 * kCols; i < 6 * kCols; ++i) EXPECT_EQ(back[i], 0);

  const ragdot_requantize_args across = {sizeof across, scaled, &c.groups, c.col_out};
  ASSERT_EQ(ragdot_requantize(&across, nullptr), RAGDOT_OK) << ragdot_last_error();
  std::vector<std::uint8_t> codes(3 * 8);
  const ragdot_const_view scales = ragdot_const_matrix(c.col_scales.data(), RAGDOT_F32, 3, 8, 0);
  const ragdot_view code_view = ragdot_matrix(codes.data(), RAGDOT_E8M0, 3, 8, 0);
  ASSERT_EQ(ragdot_to_e8m0(&scales, &code_view), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(std::ldexp(1.0F, codes[5] - 127), c.col_scales[5]);
}

/// A block of scales that are not there divided by zero.
TEST(CAbiQuantize, TheBlockOfNoScalesIsNotLookedAt) {
  Copies c;
  const ragdot_quantize_args there = {sizeof there, c.source(), &c.groups, c.row_out};
  ASSERT_EQ(ragdot_quantize(&there, nullptr), RAGDOT_OK) << ragdot_last_error();
  const ragdot_operand unscaled = {ragdot_const_matrix(c.row_wise.data(), RAGDOT_E4M3, kRows, kCols, 0), {}};
  Copies plain;
  ragdot_requantize_args args = {sizeof args, unscaled, &c.groups, plain.col_out};
  ASSERT_EQ(ragdot_requantize(&args, nullptr), RAGDOT_OK) << ragdot_last_error();
  Copies odd;
  args.input.scales.origin = RAGDOT_ORIGIN_PER_GROUP;
  args.out = odd.col_out;
  ASSERT_EQ(ragdot_requantize(&args, nullptr), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(odd.col_wise, plain.col_wise);
  EXPECT_EQ(odd.col_scales, plain.col_scales);
}

TEST(CAbiQuantize, RefusesAsTheProductsDo) {
  Copies c;
  ragdot_quantize_args args = {0, c.source(), &c.groups, c.row_out};
  EXPECT_EQ(ragdot_quantize(&args, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_quantize: struct_size of args is 0; set it to sizeof(ragdot_quantize_args)");
  EXPECT_EQ(ragdot_requantize(nullptr, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(ragdot_dequantize(nullptr, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(ragdot_quantize_both(nullptr, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(ragdot_to_e8m0(nullptr, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_to_e8m0: scales is null; give its address");
  args.struct_size = sizeof args;
  args.out.recipe = 9;
  EXPECT_EQ(ragdot_quantize(&args, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("9"));
  EXPECT_THAT(c.row_wise, testing::Each(0xa5));
  EXPECT_THAT(c.row_scales, testing::Each(-1));
}

}  // namespace
}  // namespace ragdot::api
