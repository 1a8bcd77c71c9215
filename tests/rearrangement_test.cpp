// Results follow their data: groups moved, split, emptied or alone, rows moved, operands exchanged, scaled, negated, padded.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "tests/cases.hpp"

namespace ragdot::suites {
namespace {

class Rearrangement : public testing::TestWithParam<SuiteCase> {};
class GmmRearrangement : public testing::TestWithParam<SuiteCase> {};
class TgmmRearrangement : public testing::TestWithParam<SuiteCase> {};

INSTANTIATE_TEST_SUITE_P(All, Rearrangement, testing::ValuesIn(all_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(All, GmmRearrangement, testing::ValuesIn(gmm_cases()), case_name);
INSTANTIATE_TEST_SUITE_P(All, TgmmRearrangement, testing::ValuesIn(tgmm_cases()), case_name);

void copy_row(const DenseOperand& from, std::int64_t from_row, DenseOperand& to, std::int64_t to_row) {
  std::memcpy(to.value(0, to_row, 0), from.value(0, from_row, 0),
              static_cast<std::size_t>(from.cols * element_bytes(from.format)));
  if (from.scale_format == Format::none || from.block_rows != 1) return;
  std::memcpy(to.scale(0, to_row, 0), from.scale(0, from_row, 0),
              static_cast<std::size_t>(from.scale_cols * element_bytes(from.scale_format)));
}

void copy_matrix(const DenseOperand& from, std::int64_t from_matrix, DenseOperand& to, std::int64_t to_matrix) {
  std::memcpy(to.value(to_matrix, 0, 0), from.value(from_matrix, 0, 0),
              static_cast<std::size_t>(from.rows * from.cols * element_bytes(from.format)));
  if (from.scale_format == Format::none) return;
  std::memcpy(to.scale(to_matrix, 0, 0), from.scale(from_matrix, 0, 0),
              static_cast<std::size_t>(from.scale_rows * from.scale_cols * element_bytes(from.scale_format)));
}

/// An operand of the same kind with another number of rows or matrices; contents unset.
DenseOperand resized(const DenseOperand& from, std::int64_t batch, std::int64_t rows) {
  DenseOperand to = from;
  to.batch = batch;
  if (rows != from.rows && from.scale_format != Format::none && from.block_rows == 1) to.scale_rows = rows;
  to.rows = rows;
  to.values.resize(static_cast<std::size_t>(batch * rows * to.cols * element_bytes(to.format)));
  to.scales.resize(static_cast<std::size_t>(batch * to.scale_rows * to.scale_cols * element_bytes(to.scale_format)));
  return to;
}

TEST_P(Rearrangement, EmptyGroupsInserted) {
  const Sample plain = make_sample(GetParam(), touching({40, 70, 30}, 140, 60, 40));
  Sample with = plain;
  with.sizes = {0, 40, 0, 0, 70, 30, 0};
  with.starts = {0, 0, 40, 40, 40, 110, 140};
  with.local = 7;
  if (plain.lhs.origin == ScaleOrigin::per_group && plain.lhs.block_rows == kWholeAxis)
    GTEST_SKIP() << "one scale row an empty group: other operands";
  if (plain.is_gmm) {
    with.rhs = resized(plain.rhs, 7, plain.rhs.rows);
    for (std::int64_t g = 0; g < 7; ++g) copy_matrix(plain.rhs, g < 4 ? 0 : g == 4 ? 1 : 2, with.rhs, g);
    expect_same(plain, compute(plain), compute(with), "empty groups");
    return;
  }
  const std::vector<std::byte> expected = compute(plain);
  const std::vector<std::byte> got = compute(with);
  constexpr std::int64_t kPlaces[] = {1, 4, 5};
  for (std::int64_t g = 0; g < 3; ++g) {
    EXPECT_EQ(rows_of(plain, expected, g, 0, plain.out_rows()), rows_of(with, got, kPlaces[g], 0, with.out_rows()))
        << "group " << g;
  }
  for (const std::int64_t g : {0, 2, 3, 6}) {
    const std::vector<std::byte> slab = rows_of(with, got, g, 0, with.out_rows());
    EXPECT_EQ(slab, std::vector<std::byte>(slab.size())) << "empty group " << g << " is not zero";
  }
}

TEST_P(GmmRearrangement, RowsMovedIntoGaps) {
  if (!GetParam().grids.lhs_scales_within_rows()) GTEST_SKIP() << "moving rows would change their scale";
  const Sample dense = make_sample(GetParam(), touching({40, 30}, 70, 150, 40));
  Sample spread = dense;
  spread.starts = {7, 60};
  spread.lhs = resized(dense.lhs, 1, 95);
  std::fill(spread.lhs.values.begin(), spread.lhs.values.end(), std::byte{0x7f});
  for (std::int64_t r = 0; r < 70; ++r) copy_row(dense.lhs, r, spread.lhs, r < 40 ? r + 7 : r + 20);
  const std::vector<std::byte> expected = compute(dense);
  const std::vector<std::byte> got = compute(spread);
  EXPECT_EQ(rows_of(dense, expected, 0, 0, 40), rows_of(spread, got, 0, 7, 47));
  EXPECT_EQ(rows_of(dense, expected, 0, 40, 70), rows_of(spread, got, 0, 60, 90));
  for (const auto& [begin, end] : {std::pair{0, 7}, {47, 60}, {90, 95}}) {
    const std::vector<std::byte> rows = rows_of(spread, got, 0, begin, end);
    EXPECT_EQ(rows, std::vector<std::byte>(rows.size())) << "rows " << begin << ".." << end << " belong to no group";
  }
}

TEST_P(GmmRearrangement, GroupsPermutedWithTheirWeights) {
  if (!GetParam().grids.lhs_scales_within_rows()) GTEST_SKIP() << "moving rows would change their scale";
  const Sample before = make_sample(GetParam(), touching({40, 1, 33}, 74, 150, 40));
  Sample after = before;
  after.sizes = {33, 40, 1};
  after.starts = {0, 33, 73};
  constexpr std::int64_t kFrom[] = {2, 0, 1};
  for (std::int64_t g = 0; g < 3; ++g) {
    copy_matrix(before.rhs, kFrom[g], after.rhs, g);
    for (std::int64_t r = 0; r < after.sizes[static_cast<std::size_t>(g)]; ++r) {
      copy_row(before.lhs, before.starts[static_cast<std::size_t>(kFrom[g])] + r, after.lhs,
               after.starts[static_cast<std::size_t>(g)] + r);
    }
  }
  const std::vector<std::byte> expected = compute(before);
  const std::vector<std::byte> got = compute(after);
  EXPECT_EQ(rows_of(before, expected, 0, 41, 74), rows_of(after, got, 0, 0, 33));
  EXPECT_EQ(rows_of(before, expected, 0, 0, 40), rows_of(after, got, 0, 33, 73));
  EXPECT_EQ(rows_of(before, expected, 0, 40, 41), rows_of(after, got, 0, 73, 74));
}

TEST_P(GmmRearrangement, AGroupSplitInTwoWithTheSameWeights) {
  const Sample whole = make_sample(GetParam(), touching({40, 50}, 90, 150, 40));
  if (whole.lhs.origin == ScaleOrigin::per_group) GTEST_SKIP() << "its scale rows are counted by group";
  Sample split = whole;
  split.sizes = {13, 27, 50};
  split.starts = {0, 13, 40};
  split.local = 3;
  split.rhs = resized(whole.rhs, 3, whole.rhs.rows);
  for (std::int64_t g = 0; g < 3; ++g) copy_matrix(whole.rhs, g < 2 ? 0 : 1, split.rhs, g);
  expect_same(whole, compute(whole), compute(split), "split group");
}

TEST_P(GmmRearrangement, RowsPermutedInsideAGroup) {
  if (!GetParam().grids.lhs_scales_within_rows()) GTEST_SKIP() << "moving rows would change their scale";
  const Sample before = make_sample(GetParam(), touching({61}, 61, 150, 40));
  Sample after = before;
  for (std::int64_t r = 0; r < 61; ++r) copy_row(before.lhs, r, after.lhs, r * 17 % 61);
  const std::vector<std::byte> expected = compute(before);
  const std::vector<std::byte> got = compute(after);
  for (std::int64_t r = 0; r < 61; ++r) {
    const std::int64_t to = r * 17 % 61;
    EXPECT_EQ(rows_of(before, expected, 0, r, r + 1), rows_of(after, got, 0, to, to + 1)) << "row " << r;
  }
}

TEST_P(GmmRearrangement, OneRowAloneIsItsRowInTheBatch) {
  if (!GetParam().grids.lhs_scales_within_rows()) GTEST_SKIP() << "moving rows would change their scale";
  const Sample batch = make_sample(GetParam(), touching({61}, 61, 150, 40));
  const std::vector<std::byte> expected = compute(batch);
  for (const std::int64_t row : {0, 30, 60}) {
    Sample alone = batch;
    alone.sizes = {1};
    alone.lhs = resized(batch.lhs, 1, 1);
    copy_row(batch.lhs, row, alone.lhs, 0);
    EXPECT_EQ(rows_of(batch, expected, 0, row, row + 1), compute(alone)) << "row " << row;
  }
}

TEST_P(TgmmRearrangement, AGroupAloneWithTheSameStartInItsBlock) {
  const Sample all = make_sample(GetParam(), touching({50, 77, 40}, 167, 30, 20));
  if (all.lhs.origin == ScaleOrigin::per_group) GTEST_SKIP() << "scale rows are counted by group";
  Sample alone = all;
  alone.sizes = {77};
  alone.starts = {50};
  alone.local = 1;
  EXPECT_EQ(rows_of(all, compute(all), 1, 0, all.out_rows()), compute(alone));
}

TEST_P(TgmmRearrangement, OperandsExchangedTransposeTheResult) {
  const Sample ab = make_sample(GetParam());
  Sample ba = ab;
  std::swap(ba.lhs, ba.rhs);
  const std::vector<std::byte> expected = compute(ab);
  const std::vector<std::byte> got = compute(ba);
  std::vector<std::byte> transposed(expected.size());
  for (std::int64_t b = 0; b < ab.local; ++b) {
    for (std::int64_t r = 0; r < ab.out_rows(); ++r) {
      for (std::int64_t c = 0; c < ab.out_cols(); ++c) {
        std::memcpy(transposed.data() + ((b * ab.out_rows() + r) * ab.out_cols() + c) * 4,
                    got.data() + ((b * ba.out_rows() + c) * ba.out_cols() + r) * 4, 4);
      }
    }
  }
  expect_same(ab, expected, transposed, "tgmm(b, a) transposed");
}

/// 100 rows from `start` on under scales that are all 0.7: only where segments are cut can differ.
std::vector<std::byte> with_equal_scales(const SuiteCase& c, std::int64_t start) {
  Sample s = make_sample(c, {{start}, {100}, 300, 30, 20});
  const Sample origin = make_sample(c, {{0}, {100}, 300, 30, 20});
  for (DenseOperand* operand : {&s.lhs, &s.rhs}) {
    const DenseOperand& from = operand == &s.lhs ? origin.lhs : origin.rhs;
    std::memcpy(operand->value(0, start, 0), from.value(0, 0, 0),
                static_cast<std::size_t>(100 * from.cols * element_bytes(from.format)));
    for (std::size_t i = 0; i < operand->scales.size(); i += 4) {
      const auto bits = std::bit_cast<std::uint32_t>(0.7F);
      std::memcpy(operand->scales.data() + i, &bits, 4);
    }
  }
  return compute(s);
}

TEST(GlobalRowGrid, CutsByWhereTheGroupStarts) {
  const SuiteCase blockwise{false, tgmm_grids().front()};
  EXPECT_TRUE(with_equal_scales(blockwise, 0) == with_equal_scales(blockwise, 128));
  EXPECT_TRUE(with_equal_scales(blockwise, 50) == with_equal_scales(blockwise, 178));
  EXPECT_FALSE(with_equal_scales(blockwise, 0) == with_equal_scales(blockwise, 50))
      << "a start inside a block must cut segments elsewhere";
}

void scale_by_power_of_two(DenseOperand& operand, int exponent) {
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(operand.scales.size()); i += element_bytes(operand.scale_format)) {
    std::byte* at = operand.scales.data() + i;
    if (operand.scale_format == Format::e8m0) {
      *at = static_cast<std::byte>(std::to_integer<int>(*at) + exponent);
    } else {  // f32 and bf16 have the exponent at the same distance from their top
      std::byte* high = at + element_bytes(operand.scale_format) - 2;
      std::uint16_t bits = 0;
      std::memcpy(&bits, high, 2);
      bits = static_cast<std::uint16_t>(bits + (exponent << 7));
      std::memcpy(high, &bits, 2);
    }
  }
}

TEST_P(Rearrangement, ScalesTimesAPowerOfTwo) {
  const Sample before = make_sample(GetParam());
  Sample after = before;
  scale_by_power_of_two(after.lhs, 5);
  scale_by_power_of_two(after.rhs, -2);
  const int exponent = (before.lhs.scale_format != Format::none ? 5 : 0) + (before.rhs.scale_format != Format::none ? -2 : 0);
  std::vector<std::byte> expected = compute(before);
  for (std::size_t i = 0; i < expected.size(); i += 4) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, expected.data() + i, 4);
    if (bits << 1 != 0) bits += static_cast<std::uint32_t>(exponent) << 23;
    std::memcpy(expected.data() + i, &bits, 4);
  }
  expect_same(before, expected, compute(after), "scales times 2^" + std::to_string(exponent));
}

TEST_P(Rearrangement, NegatedOperand) {
  const Sample before = make_sample(GetParam(), Data::integers);
  Sample after = before;
  const std::int64_t bytes = element_bytes(after.lhs.format);
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(after.lhs.values.size()); i += bytes) {
    std::byte& top = after.lhs.values[static_cast<std::size_t>(i + bytes - 1)];
    top = after.lhs.format == Format::i8 ? static_cast<std::byte>(-std::to_integer<int>(top)) : top ^ std::byte{0x80};
  }
  std::vector<std::byte> expected = compute(before);
  for (std::size_t i = 0; i < expected.size(); i += 4) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, expected.data() + i, 4);
    if (bits != 0) bits ^= 0x80000000U;  // zeros stay +0
    std::memcpy(expected.data() + i, &bits, 4);
  }
  expect_same(before, expected, compute(after), "negated lhs");
}

TEST_P(GmmRearrangement, ZerosAppendedToTheReductionAxis) {
  const SuiteCase& c = GetParam();
  const Sample wide = make_sample(c, touching({20, 13}, 33, 320, 24));
  Sample zeroed = wide;  // K elements from 192 on are zero
  Sample narrow = make_sample(c, touching({20, 13}, 33, 192, 24));
  if (c.grids.lhs_cols != kWholeAxis && 192 % c.grids.lhs_cols != 0) GTEST_SKIP() << "the cut is not at the end of a block";
  if (c.grids.rhs_rows != kWholeAxis && 192 % c.grids.rhs_rows != 0) GTEST_SKIP() << "the cut is not at the end of a block";
  const std::int64_t lhs_bytes = element_bytes(wide.lhs.format);
  const std::int64_t rhs_bytes = element_bytes(wide.rhs.format);
  for (std::int64_t r = 0; r < 33; ++r) {
    std::memset(zeroed.lhs.value(0, r, 192), 0, static_cast<std::size_t>(128 * lhs_bytes));
    std::memcpy(narrow.lhs.value(0, r, 0), wide.lhs.value(0, r, 0), static_cast<std::size_t>(192 * lhs_bytes));
  }
  for (std::int64_t g = 0; g < 2; ++g) {
    std::memcpy(narrow.rhs.value(g, 0, 0), wide.rhs.value(g, 0, 0), static_cast<std::size_t>(192 * 24 * rhs_bytes));
    for (std::int64_t r = 0; wide.rhs.scale_format != Format::none && r < narrow.rhs.scale_rows; ++r) {
      std::memcpy(narrow.rhs.scale(g, r, 0), wide.rhs.scale(g, r, 0),
                  static_cast<std::size_t>(wide.rhs.scale_cols * element_bytes(wide.rhs.scale_format)));
    }
  }
  for (std::int64_t r = 0; wide.lhs.scale_format != Format::none && r < narrow.lhs.scale_rows; ++r) {
    std::memcpy(narrow.lhs.scale(0, r, 0), wide.lhs.scale(0, r, 0),
                static_cast<std::size_t>(narrow.lhs.scale_cols * element_bytes(wide.lhs.scale_format)));
  }
  expect_same(narrow, compute(narrow), compute(zeroed), "zeros appended");
}

}  // namespace
}  // namespace ragdot::suites
