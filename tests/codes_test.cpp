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
  const auto call = [](const GmmArgs& of, const Options& options) { return gmm(of, options); };
  run_on_every_kernel(args, call, out, [&](const std::string& kernel) { check(kernel, out); });
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

/// Multiplies `codes`, each as a row and as a column of depth 1, by 2^`exponent`, on every kernel. `scales` are of blocks of
/// `block`.
void expect_folded(Format format, const std::vector<std::uint8_t>& codes, const std::vector<std::uint8_t>& scales,
                   std::int64_t block, int exponent) {
  const auto count = static_cast<std::int64_t>(codes.size());
  const auto factor = static_cast<std::uint16_t>((127 + exponent) << 7);
  const auto check = [&](const std::string& kernel, const std::vector<float>& out) {
    int wrong = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t scale = scales[i / static_cast<std::size_t>(block)];
      const double exact = std::ldexp(folded(value_of(format, codes[i]), scale), exponent);
      if (std::bit_cast<std::uint32_t>(out[i]) != out_bits(exact) && wrong++ == 0) {
        ADD_FAILURE() << kernel << ": code " << int{codes[i]} << ", scale " << scale << " give " << out[i] << ", not " << exact;
      }
    }
    EXPECT_EQ(wrong, 0) << kernel << ", of 65,536";
  };
  const auto* values = static_cast<const void*>(codes.data());
  const auto* powers = static_cast<const void*>(scales.data());
  const auto* factors = static_cast<const void*>(&factor);
  const auto blocks = static_cast<std::int64_t>(scales.size());
  GmmArgs rows;
  rows.lhs =
      Operand(matrix(values, format, count, 1), {matrix(powers, Format::e8m0, blocks, 1), block, 1, ScaleOrigin::global});
  rows.rhs = matrices(factors, Format::bf16, 1, 1, 1);
  on_every_kernel(rows, count, 1, check);
  GmmArgs columns;
  columns.lhs = matrix(factors, Format::bf16, 1, 1);
  columns.rhs = Operand(matrices(values, format, 1, 1, count),
                        {matrices(powers, Format::e8m0, 1, 1, blocks), 1, block, ScaleOrigin::global});
  on_every_kernel(columns, 1, count, check);
}

/// Times one, and times 2^20, which shows what is zero below bf16's range.
TEST_P(FoldedCodes, AreExactOnBothSides) {
  std::vector<std::uint8_t> codes(256 * 256);
  std::vector<std::uint8_t> scales(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i) {
    codes[i] = static_cast<std::uint8_t>(i / 256);
    scales[i] = static_cast<std::uint8_t>(i % 256);
  }
  for (const int exponent : {0, 20}) expect_folded(GetParam(), codes, scales, 1, exponent);
}

/// Kernels may decode values together with a scale that they share.
TEST_P(FoldedCodes, AreExactInBlocksOfOneScale) {
  std::vector<std::uint8_t> codes(256 * 256);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(i);
  for (const int exponent : {0, 20}) expect_folded(GetParam(), codes, all_codes(), 256, exponent);
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

/// Row i has scale code i. Code 0 is a subnormal f32, which counts as zero; 255 is NaN.
TEST(Int8, EveryE8m0ScaleIsItsPower) {
  const std::vector<std::uint8_t> scales = all_codes();
  const std::vector<std::uint8_t> lhs(256, 3);
  const std::vector<std::uint8_t> rhs(40, 1);
  GmmArgs args;
  args.lhs = Operand(matrix(static_cast<const void*>(lhs.data()), Format::i8, 256, 1),
                     {matrix(static_cast<const void*>(scales.data()), Format::e8m0, 256, 1), 1, 1, ScaleOrigin::global});
  args.rhs = matrices(static_cast<const void*>(rhs.data()), Format::i8, 1, 1, 40);
  on_every_kernel(args, 256, 40, [](const std::string& kernel, const std::vector<float>& out) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t code = i / 40;
      const double exact = code == 255 ? std::numeric_limits<double>::quiet_NaN()
                           : code == 0 ? 0
                                       : std::ldexp(3.0, static_cast<int>(code) - 127);
      ASSERT_EQ(std::bit_cast<std::uint32_t>(out[i]), out_bits(exact)) << kernel << ", scale " << code;
    }
  });
}

}  // namespace
}  // namespace ragdot::suites
