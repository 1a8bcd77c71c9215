// What is outside the groups is never read, and NaN and Inf inside stay in their row and their group's column.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/cases.hpp"

namespace ragdot::suites {
namespace {

class Poison : public testing::TestWithParam<SuiteCase> {};
INSTANTIATE_TEST_SUITE_P(All, Poison, testing::ValuesIn(all_cases()), case_name);

bool in_a_group(const Sample& s, std::int64_t row) {
  for (std::size_t g = 0; g < s.sizes.size(); ++g) {
    if (row >= s.starts[g] && row < s.starts[g] + s.sizes[g]) return true;
  }
  return false;
}

/// 0xff bytes are NaN in every format but i8, where they are -1.
void poison_rows(const Sample& s, DenseOperand& operand) {
  const auto row_bytes = static_cast<std::size_t>(operand.cols * element_bytes(operand.format));
  for (std::int64_t r = 0; r < operand.rows; ++r) {
    if (!in_a_group(s, r)) std::memset(operand.value(0, r, 0), 0xff, row_bytes);
  }
  if (operand.scale_format == Format::none || operand.origin == ScaleOrigin::per_group || operand.block_rows == kWholeAxis)
    return;
  for (std::int64_t block = 0; block < operand.scale_rows; ++block) {
    bool used = false;
    for (std::int64_t r = block * operand.block_rows; r < std::min((block + 1) * operand.block_rows, operand.rows); ++r) {
      used = used || in_a_group(s, r);
    }
    if (!used)
      std::memset(operand.scale(0, block, 0), 0xff,
                  static_cast<std::size_t>(operand.scale_cols * element_bytes(operand.scale_format)));
  }
}

TEST_P(Poison, OutsideTheGroups) {
  const bool is_gmm = GetParam().is_gmm;
  const Shape gaps{{4, 90, 90, 200}, {37, 0, 33, 21}, 240, is_gmm ? 150 : 45, 38};
  const Sample clean = make_sample(GetParam(), gaps);
  Sample dirty = clean;
  poison_rows(dirty, dirty.lhs);
  if (!is_gmm) poison_rows(dirty, dirty.rhs);
  const std::vector<std::byte> expected = compute(clean);
  for (const Tiling& tiling : {Tiling{256, 256, 256}, Tiling{5, 32, 7}}) {
    Options options;
    options.tiling = tiling;
    expect_same(clean, expected, compute(dirty, options), "poisoned rows outside");
  }
}

TEST_P(Poison, WeightsOfEmptyGroups) {
  if (!GetParam().is_gmm) GTEST_SKIP() << "only gmm has weights of a group";
  const Sample clean = make_sample(GetParam());
  Sample dirty = clean;
  for (std::size_t g = 0; g < dirty.sizes.size(); ++g) {
    if (dirty.sizes[g] != 0) continue;
    const auto values = static_cast<std::size_t>(dirty.rhs.rows * dirty.rhs.cols * element_bytes(dirty.rhs.format));
    std::memset(dirty.rhs.value(static_cast<std::int64_t>(g), 0, 0), 0xff, values);
  }
  expect_same(clean, compute(clean), compute(dirty), "poisoned weights of empty groups");
}

float f32_at(const std::vector<std::byte>& out, std::int64_t i) {
  float v = 0;
  std::memcpy(&v, out.data() + 4 * i, 4);
  return v;
}

void set_nan(DenseOperand& operand, std::int64_t b, std::int64_t r, std::int64_t c) {
  std::memset(operand.value(b, r, c), 0xff, static_cast<std::size_t>(element_bytes(operand.format)));
}

/// Every NaN of out is canonical, and out(b, r, c) is NaN exactly where `expected` says.
template <class Expected>
void expect_nan_where(const Sample& s, const std::vector<std::byte>& clean, const std::vector<std::byte>& out,
                      Expected expected) {
  for (std::int64_t b = 0, i = 0; b < s.out_batch(); ++b) {
    for (std::int64_t r = 0; r < s.out_rows(); ++r) {
      for (std::int64_t c = 0; c < s.out_cols(); ++c, ++i) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, out.data() + 4 * i, 4);
        if (expected(b, r, c)) {
          ASSERT_EQ(bits, 0x7fc00000U) << "(" << b << ", " << r << ", " << c << ") is " << f32_at(out, i);
        } else {
          ASSERT_EQ(std::memcmp(clean.data() + 4 * i, out.data() + 4 * i, 4), 0)
              << "(" << b << ", " << r << ", " << c << ") changed";
        }
      }
    }
  }
}

TEST_P(Poison, NanInOneElementStaysInItsRowOrColumn) {
  if (GetParam().grids.lhs == Format::i8) GTEST_SKIP() << "i8 has no NaN";
  const Sample clean = make_sample(GetParam());
  const std::vector<std::byte> expected = compute(clean);
  Sample left = clean;
  set_nan(left.lhs, 0, 40, 11);  // group 3, which starts at row 38
  expect_nan_where(clean, expected, compute(left),
                   [&](std::int64_t b, std::int64_t r, std::int64_t) { return clean.is_gmm ? r == 40 : b == 3 && r == 11; });
  Sample right = clean;
  set_nan(right.rhs, clean.is_gmm ? 3 : 0, 40, 11);
  expect_nan_where(clean, expected, compute(right), [&](std::int64_t b, std::int64_t r, std::int64_t c) {
    return c == 11 && (clean.is_gmm ? r >= 38 && r < 108 : b == 3);
  });
}

TEST_P(Poison, NanScaleStaysInItsBlock) {
  const Sample clean = make_sample(GetParam());
  if (clean.lhs.scale_format == Format::none) GTEST_SKIP() << "lhs has no scales";
  Sample dirty = clean;
  const std::int64_t bytes = element_bytes(clean.lhs.scale_format);
  if (clean.lhs.scale_format == Format::e8m0) {
    *dirty.lhs.scale(0, 0, 0) = std::byte{0xff};
  } else {
    dirty.lhs.scale(0, 0, 0)[bytes - 1] = std::byte{0x7f};
    dirty.lhs.scale(0, 0, 0)[bytes - 2] = std::byte{0xc0};
  }
  const std::int64_t rows = std::min<std::int64_t>(clean.lhs.block_rows, clean.lhs.rows);
  const std::int64_t cols = std::min<std::int64_t>(clean.lhs.block_cols, clean.lhs.cols);
  const bool per_group = clean.lhs.origin == ScaleOrigin::per_group;
  expect_nan_where(clean, compute(clean), compute(dirty), [&](std::int64_t b, std::int64_t r, std::int64_t) {
    if (clean.is_gmm) return r < (per_group ? std::min<std::int64_t>(rows, 37) : rows) && in_a_group(clean, r);
    const auto g = static_cast<std::size_t>(b);
    return r < cols && clean.sizes[g] > 0 && (per_group ? g == 0 : clean.starts[g] < rows);
  });
}

TEST(Infinity, SumsAndProductsFollowIeee) {
  Sample s = make_gmm({"bf16", Format::bf16, Format::bf16}, touching({3}, 3, 40, 2), Data::integers, 9);
  const auto set = [](DenseOperand& o, std::int64_t r, std::int64_t c, std::uint16_t bits) {
    std::memcpy(o.value(0, r, c), &bits, 2);
  };
  for (std::int64_t k = 0; k < 40; ++k) {
    set(s.rhs, k, 0, 0x3f80);                    // column of ones
    set(s.rhs, k, 1, k == 5 ? 0x0000 : 0x3f80);  // a zero that meets an Inf
  }
  set(s.lhs, 0, 5, 0x7f80);
  set(s.lhs, 1, 5, 0x7f80);
  set(s.lhs, 1, 6, 0xff80);
  set(s.lhs, 2, 7, 0xff80);
  const std::vector<std::byte> out = compute(s);
  EXPECT_EQ(f32_at(out, 0), INFINITY);
  EXPECT_TRUE(std::isnan(f32_at(out, 1)));  // Inf * 0
  EXPECT_TRUE(std::isnan(f32_at(out, 2)));  // Inf - Inf
  EXPECT_EQ(f32_at(out, 4), -INFINITY);
  EXPECT_EQ(f32_at(out, 5), -INFINITY);
}

}  // namespace
}  // namespace ragdot::suites
