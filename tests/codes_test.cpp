// Every code through every kernel: 65,536 pairs of FP8 codes, every code with every e8m0 scale, and int8 at its extremes.
#include "tests/codes.hpp"

#include <cstring>
#include <limits>

namespace ragdot::suites {
namespace {

/// Runs a one-group gmm of `rows` rows on every kernel that takes it, and hands each result to `check(kernel, out)`.
template <class Check>
void on_every_kernel(GmmArgs args, std::int64_t rows, std::int64_t cols, Check check) {
  const std::vector<std::int64_t> sizes = {rows};
  std::vector<float> out(static_cast<std::size_t>(rows * cols));
  args.groups = Groups::from_sizes(std::span(sizes));
  args.out = matrix(static_cast<void*>(out.data()), Format::f32, rows, cols);
  for (const std::string& kernel : testing::kernels_for(args)) {
    Options options;
    options.kernel = kernel;
    std::fill(out.begin(), out.end(), -77.0F);
    const Status status = gmm(args, options);
    ASSERT_TRUE(status.ok()) << kernel << ": " << status.message();
    check(kernel, out);
  }
}

class CodePairs : public ::testing::TestWithParam<std::pair<Format, Format>> {};

TEST_P(CodePairs, MultiplyExactly) {
  const auto [lhs, rhs] = GetParam();
  const std::vector<std::uint8_t> codes = all_codes();
  GmmArgs args;
  args.lhs = matrix(static_cast<const void*>(codes.data()), lhs, 256, 1);
  args.rhs = matrices(static_cast<const void*>(codes.data()), rhs, 1, 1, 256);
  on_every_kernel(args, 256, 256, [&, l = lhs, r = rhs](const std::string& kernel, const std::vector<float>& out) {
    expect_products(l, r, out, kernel);
  });
}

INSTANTIATE_TEST_SUITE_P(Formats, CodePairs, ::testing::ValuesIn(kCodePairs), pair_name);

/// value * 2^(scale - 127) as bf16 holds it.
double folded(float value, std::size_t scale) {
  if (scale == 255 || std::isnan(value)) return std::numeric_limits<double>::quiet_NaN();
  const double product = std::ldexp(static_cast<double>(value), static_cast<int>(scale) - 127);
  if (std::abs(product) < 0x1p-126) return 0;
  return std::abs(product) < 0x1p128 ? product : std::copysign(std::numeric_limits<double>::infinity(), product);
}

class FoldedCodes : public ::testing::TestWithParam<Format> {};

/// Element i has code i / 256 and scale i % 256; the other operand is one.
TEST_P(FoldedCodes, AreExactOnBothSides) {
  const Format format = GetParam();
  constexpr std::int64_t kCount = 256 * 256;
  std::vector<std::uint8_t> codes(kCount);
  std::vector<std::uint8_t> scales(kCount);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    codes[i] = static_cast<std::uint8_t>(i / 256);
    scales[i] = static_cast<std::uint8_t>(i % 256);
  }
  const std::uint16_t one = 0x3f80;
  const auto check = [&](const std::string& kernel, const std::vector<float>& out) {
    int wrong = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const double exact = folded(value_of(format, i / 256), i % 256);
      if (std::bit_cast<std::uint32_t>(out[i]) != out_bits(exact) && wrong++ == 0) {
        ADD_FAILURE() << kernel << ": code " << i / 256 << ", scale " << i % 256 << " give " << out[i] << ", not " << exact;
      }
    }
    EXPECT_EQ(wrong, 0) << kernel << ", of 65,536";
  };
  const auto* values = static_cast<const void*>(codes.data());
  const auto* powers = static_cast<const void*>(scales.data());
  const auto* ones = static_cast<const void*>(&one);
  GmmArgs rows;
  rows.lhs = Operand(matrix(values, format, kCount, 1), {matrix(powers, Format::e8m0, kCount, 1), 1, 1, ScaleOrigin::global});
  rows.rhs = matrices(ones, Format::bf16, 1, 1, 1);
  on_every_kernel(rows, kCount, 1, check);
  GmmArgs columns;
  columns.lhs = matrix(ones, Format::bf16, 1, 1);
  columns.rhs = Operand(matrices(values, format, 1, 1, kCount),
                        {matrices(powers, Format::e8m0, 1, 1, kCount), 1, 1, ScaleOrigin::global});
  on_every_kernel(columns, 1, kCount, check);
}

INSTANTIATE_TEST_SUITE_P(Formats, FoldedCodes, ::testing::Values(Format::e4m3, Format::e5m2),
                         [](const auto& param) { return std::string(param.param == Format::e4m3 ? "e4m3" : "e5m2"); });

TEST(Int8, SumsAtTheExtremesAreExact) {
  constexpr std::int64_t kRows = 7;
  constexpr std::int64_t kCols = 40;
  constexpr std::int64_t kDepth = 131071;  // the longest segment whose sums fit int32
  const std::vector<std::uint8_t> lhs(kRows * kDepth, 0x80);
  std::vector<std::uint8_t> rhs(kDepth * kCols, 0x80);
  for (std::size_t i = 1; i < rhs.size(); i += kCols) rhs[i] = 0x7f;  // column 1
  GmmArgs args;
  args.lhs = matrix(static_cast<const void*>(lhs.data()), Format::i8, kRows, kDepth);
  args.rhs = matrices(static_cast<const void*>(rhs.data()), Format::i8, 1, kDepth, kCols);
  on_every_kernel(args, kRows, kCols, [](const std::string& kernel, const std::vector<float>& out) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const double exact = static_cast<double>(kDepth) * (i % kCols == 1 ? -128.0 * 127 : 128.0 * 128);
      ASSERT_EQ(out[i], static_cast<float>(exact)) << kernel << " at " << i;
    }
  });
}

TEST(Int8, SegmentsThatMayLeaveInt32GoToAKernelThatHoldsThem) {
  constexpr std::int64_t kDepth = 131072;
  const std::vector<std::uint8_t> codes(kDepth, 0x80);
  GmmArgs args;
  args.lhs = matrix(static_cast<const void*>(codes.data()), Format::i8, 1, kDepth);
  args.rhs = matrices(static_cast<const void*>(codes.data()), Format::i8, 1, kDepth, 1);
  bool taken = false;
  on_every_kernel(args, 1, 1, [&](const std::string& kernel, const std::vector<float>& out) {
    EXPECT_EQ(out[0], 0x1p31F) << kernel;
    taken = true;
  });
  EXPECT_TRUE(taken);
}

}  // namespace
}  // namespace ragdot::suites
