// Rows wider than the tiles that threads take: the same as narrow slices of them; and every table behind the whole call.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "cpu/quantize/independent.hpp"
#include "cpu/quantize/routines.hpp"
#include "format/half.hpp"
#include "ragdot/kernels.hpp"
#include "ragdot/quantize.hpp"

namespace ragdot {
namespace {

using namespace independent;

View columns(View v, std::int64_t begin, std::int64_t end) {
  v.data = static_cast<std::byte*>(v.data) + begin * v.col_stride * element_bytes(v.format);
  v.cols = end - begin;
  return v;
}

/// quantize for every few columns alone: blocks of columns know nothing of each other.
void quantize_slices(const ConstView& input, const QuantizedOut& out, std::int64_t width) {
  for (std::int64_t c = 0; c < input.cols; c += width) {
    const std::int64_t end = std::min(c + width, input.cols);
    ConstView part = input;
    part.data = static_cast<const std::byte*>(input.data) + c * input.col_stride * element_bytes(input.format);
    part.cols = end - c;
    QuantizedOut narrow = out;
    narrow.values = columns(out.values, c, end);
    const std::int64_t block = out.scales.block_cols;
    narrow.scales.view = columns(out.scales.view, c / block, (end + block - 1) / block);
    const Status status = quantize({part, {}, narrow});
    ASSERT_TRUE(status.ok()) << status.message();
  }
}

struct Shape {
  std::int64_t rows;
  std::int64_t cols;
};

TEST(QuantizeWide, IsItsSlices) {
  const std::vector<Wanted> grids = {
      {Format::e4m3, Format::f32, Recipe::absmax, 1, 128},   {Format::e4m3, Format::f32, Recipe::absmax, 128, 1},
      {Format::e4m3, Format::f32, Recipe::absmax, 128, 128}, {Format::e5m2, Format::bf16, Recipe::absmax, 3, 5},
      {Format::e4m3, Format::e8m0, Recipe::mx, 1, 32},       {Format::i8, Format::f32, Recipe::absmax, kAll, 1},
      {Format::e5m2, Format::e8m0, Recipe::pow2, kAll, 700}, {Format::e4m3, Format::f32, Recipe::absmax, 1, 1}};
  for (const Shape shape : {Shape{5, 9000}, Shape{260, 2300}, Shape{1100, 4100}}) {
    const std::vector<float> x = make_input(shape.rows, shape.cols, 31);
    std::vector<std::uint16_t> halves;
    for (const float v : x) halves.push_back(format::f32_to_bf16(v));
    const ConstView bf16 = matrix(static_cast<const void*>(halves.data()), Format::bf16, shape.rows, shape.cols);
    for (const Wanted& w : grids) {
      for (const bool transposed : {false, true}) {
        const ConstView input = transposed ? bf16 : dense(x, shape.rows, shape.cols);
        Copy whole;
        Copy slices;
        prepare(whole, w, shape.rows, shape.cols, nullptr, transposed);
        prepare(slices, w, shape.rows, shape.cols, nullptr, transposed);
        ASSERT_TRUE(quantize({input, {}, whole.out}).ok());
        ASSERT_NO_FATAL_FAILURE(
            quantize_slices(input, slices.out, 140 / w.block_cols * w.block_cols + (w.block_cols > 140 ? w.block_cols : 0)));
        ASSERT_EQ(whole.values, slices.values)
            << shape.rows << " x " << shape.cols << ", blocks " << w.block_rows << " x " << w.block_cols;
        ASSERT_EQ(whole.scales, slices.scales)
            << shape.rows << " x " << shape.cols << ", blocks " << w.block_rows << " x " << w.block_cols;
      }
    }
  }
}

TEST(QuantizeWide, TwoCopiesAreEachAlone) {
  constexpr std::int64_t kRows = 300;
  constexpr std::int64_t kCols = 5000;
  const std::vector<float> x = make_input(kRows, kCols, 32);
  const std::vector<std::int64_t> sizes = {140, 0, 160};
  const Groups groups = Groups::from_sizes(std::span(sizes));
  for (const std::int64_t row_block : {std::int64_t{128}, std::int64_t{96}, kAll}) {
    const Wanted row{Format::e4m3, Format::f32, Recipe::absmax, 1, row_block};
    for (const std::int64_t col_rows : {std::int64_t{128}, kAll}) {
      const Wanted col{Format::e5m2, Format::e8m0, Recipe::pow2, col_rows, 1};
      Copy a;
      Copy b;
      Copy both_a;
      Copy both_b;
      prepare(a, row, kRows, kCols, &sizes, true);
      prepare(b, col, kRows, kCols, &sizes, true);
      prepare(both_a, row, kRows, kCols, &sizes, true);
      prepare(both_b, col, kRows, kCols, &sizes, true);
      ASSERT_TRUE(quantize({dense(x, kRows, kCols), groups, a.out}).ok());
      ASSERT_TRUE(quantize({dense(x, kRows, kCols), groups, b.out}).ok());
      ASSERT_TRUE(quantize_both({dense(x, kRows, kCols), groups, both_a.out, both_b.out}).ok());
      EXPECT_EQ(a.values, both_a.values);
      EXPECT_EQ(a.scales, both_a.scales);
      EXPECT_EQ(b.values, both_b.values);
      EXPECT_EQ(b.scales, both_b.scales);
    }
  }
}

TEST(QuantizeWide, DequantizesEveryGridToAnyStrides) {
  constexpr std::int64_t kRows = 7;
  constexpr std::int64_t kCols = 9000;
  const std::vector<float> x = make_input(kRows, kCols, 33);
  for (const Shape block : {Shape{1, 128}, Shape{3, 1}, Shape{kAll, 5}, Shape{2, kAll}}) {
    Copy copy;
    prepare(copy, {Format::e4m3, Format::f32, Recipe::absmax, block.rows, block.cols}, kRows, kCols, nullptr);
    ASSERT_TRUE(quantize({dense(x, kRows, kCols), {}, copy.out}).ok());
    const Operand scaled{copy.out.values, {copy.out.scales.view, block.rows, block.cols}};
    std::vector<float> back(kRows * kCols);
    std::vector<float> across(kRows * kCols);
    ASSERT_TRUE(dequantize({scaled, {}, matrix(static_cast<void*>(back.data()), Format::f32, kRows, kCols)}).ok());
    ASSERT_TRUE(
        dequantize({scaled, {}, matrix(static_cast<void*>(across.data()), Format::f32, kCols, kRows).transposed()}).ok());
    for (std::int64_t r = 0; r < kRows; ++r) {
      for (std::int64_t c = 0; c < kCols; ++c) {
        const std::int64_t scale_row = block.rows == kAll ? 0 : r / block.rows;
        const std::int64_t scale_col = block.cols == kAll ? 0 : c / block.cols;
        const float scale =
            load_scale(Format::f32, copy.scales, static_cast<std::size_t>(scale_row * copy.out.scales.view.cols + scale_col));
        const auto i = static_cast<std::size_t>(r * kCols + c);
        ASSERT_EQ(back[i], static_cast<float>(code_value(Format::e4m3, std::to_integer<unsigned>(copy.values[i]))) * scale);
        ASSERT_EQ(across[static_cast<std::size_t>(c * kRows + r)], back[i]);
      }
    }
  }
}

TEST(Dequantize, SubnormalScalesAreZeroUnlessTheyAreE8m0) {
  const std::vector<std::uint8_t> codes(3, 0x7e);  // 448
  const std::vector<float> f32 = {0x1p-126F, 0x1.8p-127F, -0x1p-149F};
  const std::vector<std::uint16_t> bf16 = {0x0080, 0x007f, 0x8001};
  const std::vector<std::uint8_t> e8m0 = {1, 0, 0};
  const auto back = [&](const void* scales, Format format) {
    std::vector<float> out(3, -1);
    const Operand input{matrix(static_cast<const void*>(codes.data()), Format::e4m3, 1, 3),
                        {matrix(scales, format, 1, 3), 1, 1}};
    EXPECT_TRUE(dequantize({input, {}, matrix(static_cast<void*>(out.data()), Format::f32, 1, 3)}).ok());
    return out;
  };
  EXPECT_EQ(back(f32.data(), Format::f32), (std::vector<float>{0x1.cp-118F, 0, 0}));
  EXPECT_EQ(back(bf16.data(), Format::bf16), (std::vector<float>{0x1.cp-118F, 0, 0}));
  EXPECT_EQ(back(e8m0.data(), Format::e8m0), (std::vector<float>{0x1.cp-118F, 0x1.cp-119F, 0x1.cp-119F}));
}

TEST(QuantizeTables, EveryTableGivesTheSameCopies) {
  constexpr std::int64_t kRows = 150;
  constexpr std::int64_t kCols = 333;
  std::vector<float> x = make_input(kRows, kCols, 34);
  x[1000] = INFINITY;
  for (const Wanted& w : wanted()) {
    Copy expected;
    prepare(expected, w, kRows, kCols, nullptr, true);
    Options options;
    options.kernel = "portable";
    ASSERT_TRUE(quantize({dense(x, kRows, kCols), {}, expected.out}, options).ok());
    for (const cpu::Routines* table : cpu::routines()) {
      if (table->refusal() != nullptr) continue;
      options.kernel = table->name;
      Copy copy;
      prepare(copy, w, kRows, kCols, nullptr, true);
      ASSERT_TRUE(quantize({dense(x, kRows, kCols), {}, copy.out}, options).ok());
      EXPECT_EQ(copy.values, expected.values) << table->name;
      EXPECT_EQ(copy.scales, expected.scales) << table->name;
    }
  }
}

TEST(QuantizeTables, KernelsWithoutATableLeaveTheChoiceOpenAndUnknownOnesAreRefused) {
  const std::vector<float> x = {1, 2, 3, 4};
  Copy copy;
  prepare(copy, wanted()[0], 1, 4, nullptr);
  const QuantizeArgs args{dense(x, 1, 4), {}, copy.out};
  Options options;
  for (const KernelInfo& kernel : list_kernels()) {
    if (!kernel.usable) continue;
    options.kernel = kernel.name;
    const Status status = quantize(args, options);
    EXPECT_TRUE(status.ok()) << status.message();
  }
  copy.values.assign(4, std::byte{0xaa});
  options.kernel = "mmx";
  const Status status = quantize(args, options);
  EXPECT_EQ(status.code(), Code::unsupported);
  EXPECT_EQ(status.message().find("quantize: kernel \"mmx\", which the call asks for, is unknown; take one of "), 0U)
      << status.message();
  EXPECT_EQ(copy.values, std::vector<std::byte>(4, std::byte{0xaa}));
}

TEST(Requantize, ProductsThatAreNanBecomeThePositiveNan) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::uint8_t> codes = {0x38, 0xff, 0x00, 0xb8};
  std::vector<float> scales = {-kNan, -kNan, INFINITY, 1.0F};
  std::vector<float> out_scale(1);
  for (const cpu::Routines* table : cpu::routines()) {
    if (table->refusal() != nullptr) continue;
    Options options;
    options.kernel = table->name;
    std::vector<std::uint8_t> out(4);
    const Operand input{matrix(static_cast<const void*>(codes.data()), Format::e4m3, 1, 4),
                        {matrix(static_cast<const void*>(scales.data()), Format::f32, 1, 4), 1, 1}};
    const QuantizedOut copy{matrix(static_cast<void*>(out.data()), Format::e4m3, 1, 4),
                            {matrix(static_cast<void*>(out_scale.data()), Format::f32, 1, 1), 1, 4},
                            Recipe::pow2};
    ASSERT_TRUE(requantize({input, {}, copy}, options).ok());
    EXPECT_EQ(out, (std::vector<std::uint8_t>{0x7f, 0x7f, 0x7f, 0xf8})) << table->name;
  }
}

}  // namespace
}  // namespace ragdot
