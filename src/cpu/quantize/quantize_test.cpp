// The quantisers against an independent one, bit by bit.
#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <cmath>
#include <vector>

#include "cpu/quantize/independent.hpp"
#include "ragdot/kernels.hpp"
#include "ragdot/quantize.hpp"

namespace ragdot {
namespace {

using namespace independent;

TEST(Quantize, EveryRecipeFormatAndGrid) {
  constexpr std::int64_t kRows = 150;
  constexpr std::int64_t kCols = 140;
  const std::vector<float> x = make_input(kRows, kCols, 1);
  for (const Wanted& w : wanted()) {
    for (const bool transposed : {false, true}) {
      Copy copy;
      prepare(copy, w, kRows, kCols, nullptr, transposed);
      const Status status = quantize({matrix(static_cast<const void*>(x.data()), Format::f32, kRows, kCols), {}, copy.out});
      ASSERT_TRUE(status.ok()) << status.message();
      std::int64_t scale_row = 0;
      expect_rows(copy, w, x, kCols, 0, kRows, scale_row);
    }
  }
}

TEST(Quantize, GroupsHaveTheirOwnBlocksAndNothingOutsideIsRead) {
  constexpr std::int64_t kCols = 70;
  const std::vector<std::int64_t> starts = {3, 60, 60, 130};
  const std::vector<std::int64_t> sizes = {50, 0, 70, 1};
  std::vector<float> x = make_input(140, kCols, 2);
  for (std::int64_t r = 0; r < 140; ++r) {
    const bool inside = (r >= 3 && r < 53) || (r >= 60 && r < 131);
    if (!inside) std::fill_n(x.begin() + r * kCols, kCols, NAN);
  }
  for (const Wanted& w : wanted()) {
    Copy copy;
    prepare(copy, w, 140, kCols, &sizes);
    const Status status = quantize({matrix(static_cast<const void*>(x.data()), Format::f32, 140, kCols),
                                    Groups::from_starts_and_sizes(std::span(starts), std::span(sizes)), copy.out});
    ASSERT_TRUE(status.ok()) << status.message();
    std::int64_t scale_row = 0;
    for (std::size_t g = 0; g < 4; ++g) {
      if (sizes[g] == 0 && w.block_rows == kWholeAxis) {
        EXPECT_EQ(load_scale(w.scales, copy.scales, static_cast<std::size_t>(scale_row * copy.out.scales.view.cols)), 1.0F);
      }
      expect_rows(copy, w, x, kCols, starts[g], starts[g] + sizes[g], scale_row);
    }
    for (const std::int64_t r : {0, 2, 53, 59, 131, 139}) {
      for (std::int64_t c = 0; c < kCols; ++c) ASSERT_EQ(copy.values[static_cast<std::size_t>(r * kCols + c)], std::byte{0});
    }
  }
}

TEST(Quantize, EdgesOfTheLargestMagnitude) {
  const std::vector<float> edges = {0.0F,     0x1p-149F,     0x1p-130F, 0x1p-126F, 1e-38F, 448.0F,  449.0F,
                                    0x1.cp8F, 0x1.c00002p8F, 3.4e38F,   57344.0F,  127.0F, 0x1p127F};
  for (const float edge : edges) {
    const std::vector<float> x = {edge, -edge / 3, edge / 7, 0.0F};
    for (const Wanted& w : wanted()) {
      Wanted one = w;
      one.block_rows = one.block_cols = kWholeAxis;
      Copy copy;
      prepare(copy, one, 1, 4, nullptr);
      ASSERT_TRUE(quantize({matrix(static_cast<const void*>(x.data()), Format::f32, 1, 4), {}, copy.out}).ok());
      expect_block(copy, one, x, 4, 0, 1, 0);
    }
  }
}

TEST(Quantize, NanAndInf) {
  const std::vector<float> x = {1.0F, NAN, -INFINITY, -2.0F};
  Copy copy;
  prepare(copy, {Format::e4m3, Format::f32, Recipe::absmax, 1, 4}, 1, 4, nullptr);
  const QuantizeArgs args{matrix(static_cast<const void*>(x.data()), Format::f32, 1, 4), {}, copy.out};
  ASSERT_TRUE(quantize(args).ok());
  EXPECT_EQ(load_scale(Format::f32, copy.scales, 0), 2.0F / 448.0F);
  EXPECT_EQ(std::to_integer<int>(copy.values[1]) & 0x7f, 0x7f);
  EXPECT_EQ(copy.values[2], std::byte{0xfe});
  const std::vector<std::byte> before = copy.values;
  Options strict;
  strict.strictness = Strictness::strict;
  EXPECT_EQ(
      quantize(args, strict).message(),
      "quantize: input [0, 0, 2] is Inf; a strict call takes finite elements; replace it, or call without strict to saturate");
  Copy i8;
  prepare(i8, {Format::i8, Format::f32, Recipe::absmax, 1, 4}, 1, 4, nullptr);
  EXPECT_EQ(quantize({args.input, {}, i8.out}).message(),
            "quantize: input [0, 0, 1] is NaN; i8 has none; replace it, or quantise to e4m3 or e5m2");
  EXPECT_EQ(i8.values, std::vector<std::byte>(4, std::byte{0xaa}));
  EXPECT_EQ(copy.values, before);
}

/// e4m3 bytes of what is read with a given scale.
std::vector<std::byte> with_fixed_scale(const Operand& input, float scale) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(input.values.cols));
  QuantizedOut out;
  out.values = matrix(static_cast<void*>(bytes.data()), Format::e4m3, 1, input.values.cols);
  out.scales = {matrix(static_cast<void*>(&scale), Format::f32, 1, 1), 1, kWholeAxis};
  out.recipe = Recipe::fixed;
  EXPECT_TRUE(requantize({input, {}, out}).ok());
  return bytes;
}

TEST(Quantize, SignsOfNanOnEveryKernel) {
  constexpr std::byte kNan{0x7f};
  constexpr std::byte kNegativeNan{0xff};
  const std::vector<float> x(40, -NAN);
  const std::vector<std::uint16_t> bf16(40, 0xffc0);
  const std::vector<std::uint16_t> f16(40, 0xfe00);
  const std::vector<std::uint8_t> e4m3(40, 0xff);
  const std::vector<float> zeros(40, 0.0F);
  const std::vector<float> infinite(40, INFINITY);
  const auto row = [](const auto& values, Format format) {
    return Operand(matrix(static_cast<const void*>(values.data()), format, 1, 40));
  };
  for (const char* kernel : {"portable", "avx2", "avx512"}) {
    if (!force_kernel(kernel).ok()) continue;
    const auto all = [&](const Operand& input, float scale, std::byte byte) {
      EXPECT_EQ(with_fixed_scale(input, scale), std::vector<std::byte>(40, byte)) << kernel << ' ' << scale;
    };
    all(row(x, Format::f32), 1, kNegativeNan);
    all(row(bf16, Format::bf16), 1, kNegativeNan);
    all(row(f16, Format::f16), 1, kNan);
    all(row(e4m3, Format::e4m3), 1, kNan);
    all(row(x, Format::f32), NAN, kNegativeNan);
    all(row(infinite, Format::f32), NAN, kNan);
    all(row(infinite, Format::f32), -NAN, kNegativeNan);
    all(row(infinite, Format::f32), INFINITY, kNegativeNan);
    all(row(zeros, Format::f32), 0, kNegativeNan);
  }
  EXPECT_TRUE(force_kernel("").ok());
}

TEST(Quantize, ThreadsAndFloatEnvironmentChangeNothing) {
  const std::vector<float> x = make_input(300, 90, 3);
  const ConstView input = matrix(static_cast<const void*>(x.data()), Format::f32, 300, 90);
  for (const Wanted& w : wanted()) {
    Copy expected;
    prepare(expected, w, 300, 90, nullptr);
    ASSERT_TRUE(quantize({input, {}, expected.out}).ok());
    // Towards zero; flushing; towards zero with every exception unmasked.
    for (const auto& [threads, mxcsr] : {std::pair{1, 0x9fc0U}, {2, 0x7f80U}, {3, 0x9fc0U}, {5, 0x6000U}, {1, 0x6000U}}) {
      Copy copy;
      prepare(copy, w, 300, 90, nullptr);
      Options options;
      options.threads = threads;
      const unsigned before = _mm_getcsr();
      _mm_setcsr(mxcsr);
      const Status status = quantize({input, {}, copy.out}, options);
      _mm_setcsr(before);
      ASSERT_TRUE(status.ok());
      EXPECT_EQ(copy.values, expected.values);
      EXPECT_EQ(copy.scales, expected.scales);
    }
  }
}

TEST(Quantize, GivenTheScalesOfAbsmaxWritesItsBytes) {
  const std::vector<float> x = make_input(150, 140, 6);
  const ConstView input = matrix(static_cast<const void*>(x.data()), Format::f32, 150, 140);
  Copy measured;
  Copy given;
  prepare(measured, {Format::e4m3, Format::f32, Recipe::absmax, 32, 32}, 150, 140, nullptr);
  prepare(given, {Format::e4m3, Format::f32, Recipe::fixed, 32, 32}, 150, 140, nullptr);
  ASSERT_TRUE(quantize({input, {}, measured.out}).ok());
  std::copy(measured.scales.begin(), measured.scales.end(), given.scales.begin());
  ASSERT_TRUE(quantize({input, {}, given.out}).ok());
  EXPECT_EQ(given.values, measured.values);
  EXPECT_EQ(given.scales, measured.scales);
}

TEST(QuantizeBoth, IsTwoQuantisersInOneRead) {
  const std::vector<float> x = make_input(200, 96, 4);
  const std::vector<std::int64_t> sizes = {70, 0, 130};
  const ConstView input = matrix(static_cast<const void*>(x.data()), Format::f32, 200, 96);
  const Wanted row{Format::e4m3, Format::f32, Recipe::absmax, 1, 128};
  const Wanted col{Format::e5m2, Format::e8m0, Recipe::pow2, 128, 1};
  for (const bool grouped : {false, true}) {
    const std::vector<std::int64_t>* g = grouped ? &sizes : nullptr;
    const std::optional<Groups> groups = grouped ? std::optional(Groups::from_sizes(std::span(sizes))) : std::nullopt;
    Copy a;
    Copy b;
    Copy both_a;
    Copy both_b;
    prepare(a, row, 200, 96, g);
    prepare(b, col, 200, 96, g, true);
    prepare(both_a, row, 200, 96, g);
    prepare(both_b, col, 200, 96, g, true);
    ASSERT_TRUE(quantize({input, groups, a.out}).ok());
    ASSERT_TRUE(quantize({input, groups, b.out}).ok());
    ASSERT_TRUE(quantize_both({input, groups, both_a.out, both_b.out}).ok());
    EXPECT_EQ(a.values, both_a.values);
    EXPECT_EQ(a.scales, both_a.scales);
    EXPECT_EQ(b.values, both_b.values);
    EXPECT_EQ(b.scales, both_b.scales);
  }
}

TEST(Dequantize, IsValueTimesScaleAndRequantizeGoesThroughIt) {
  const std::vector<float> x = make_input(130, 60, 5);
  const Wanted row{Format::e4m3, Format::f32, Recipe::absmax, 1, 32};
  const Wanted col{Format::e4m3, Format::f32, Recipe::absmax, 32, 1};
  Copy first;
  prepare(first, row, 130, 60, nullptr);
  ASSERT_TRUE(quantize({matrix(static_cast<const void*>(x.data()), Format::f32, 130, 60), {}, first.out}).ok());
  const Operand scaled(first.out.values, {first.out.scales.view, 1, 32, ScaleOrigin::global});
  std::vector<float> back(x.size());
  ASSERT_TRUE(dequantize({scaled, {}, matrix(static_cast<void*>(back.data()), Format::f32, 130, 60)}).ok());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto r = i / 60;
    const float scale = load_scale(Format::f32, first.scales, r * 2 + i % 60 / 32);
    ASSERT_EQ(back[i], static_cast<float>(code_value(Format::e4m3, std::to_integer<unsigned>(first.values[i]))) * scale);
  }
  Copy direct;
  Copy through;
  prepare(direct, col, 130, 60, nullptr);
  prepare(through, col, 130, 60, nullptr);
  ASSERT_TRUE(requantize({scaled, {}, through.out}).ok());
  ASSERT_TRUE(quantize({matrix(static_cast<const void*>(back.data()), Format::f32, 130, 60), {}, direct.out}).ok());
  EXPECT_EQ(direct.values, through.values);
  EXPECT_EQ(direct.scales, through.scales);
}

TEST(ToE8m0, ConvertsPowersOfTwoAndNamesTheFirstOther) {
  std::vector<float> scales = {1.0F, 0x1p-126F, 0x1p127F, 0.25F};
  std::vector<std::uint8_t> codes(4, 0xaa);
  const auto convert = [&] {
    return to_e8m0(matrix(static_cast<const void*>(scales.data()), Format::f32, 2, 2),
                   matrix(static_cast<void*>(codes.data()), Format::e8m0, 2, 2));
  };
  ASSERT_TRUE(convert().ok());
  EXPECT_EQ(codes, (std::vector<std::uint8_t>{127, 1, 254, 125}));
  codes.assign(4, 0xaa);
  scales[2] = 0.75F;
  EXPECT_EQ(
      convert().message(),
      "to_e8m0: scales [0, 1, 0] is 0.75, no power of two in e8m0's range; keep the f32 scales or quantise with recipe pow2");
  EXPECT_EQ(codes, std::vector<std::uint8_t>(4, 0xaa));
}

TEST(ToE8m0, AnswersAtOnceWhereThereIsNothing) {
  constexpr std::int64_t kRows = std::int64_t{1} << 50;
  EXPECT_TRUE(to_e8m0(matrix(static_cast<const void*>(nullptr), Format::f32, kRows, 0),
                      matrix(static_cast<void*>(nullptr), Format::e8m0, kRows, 0))
                  .ok());
}

}  // namespace
}  // namespace ragdot
