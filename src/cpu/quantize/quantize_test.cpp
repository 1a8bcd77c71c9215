// The quantisers against an independent one, bit by bit: own amax, own scale in double, own nearest code by search.
#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "ragdot/quantize.hpp"

namespace ragdot {
namespace {

double code_value(Format format, unsigned code) {
  if (format == Format::i8) return static_cast<std::int8_t>(code);
  const bool e4m3 = format == Format::e4m3;
  const int bits = e4m3 ? 3 : 2;
  const int bias = e4m3 ? 7 : 15;
  const unsigned mantissa = code & ((1U << bits) - 1);
  const auto exponent = static_cast<int>((code & 0x7fU) >> bits);
  const double size =
      exponent == 0 ? std::ldexp(mantissa, 1 - bias - bits) : std::ldexp(mantissa + (1U << bits), exponent - bias - bits);
  return (code & 0x80U) != 0 ? -size : size;
}

double largest(Format f) { return f == Format::e4m3 ? 448 : f == Format::e5m2 ? 57344 : 127; }

/// Nearest code of a finite x, ties to even, saturated.
std::uint8_t nearest_code(Format format, float x) {
  if (std::isnan(x)) return std::signbit(x) ? 0xff : 0x7f;
  const double size = std::min(std::abs(static_cast<double>(x)), largest(format));
  if (format == Format::i8) {
    const double rounded = std::nearbyint(size);
    return static_cast<std::uint8_t>(static_cast<std::int8_t>(std::signbit(x) ? -rounded : rounded));
  }
  const unsigned last = format == Format::e4m3 ? 0x7e : 0x7b;
  unsigned best = 0;
  for (unsigned c = 1; c <= last; ++c) {
    const double distance = std::abs(code_value(format, c) - size);
    const double rival = std::abs(code_value(format, best) - size);
    if (distance < rival || (distance == rival && c % 2 == 0)) best = c;
  }
  return static_cast<std::uint8_t>(best | (std::signbit(x) ? 0x80U : 0U));
}

/// The recipe's scale, by its text.
float expected_scale(Recipe recipe, Format values, Format scales, double amax) {
  if (amax == 0) return 1;
  if (recipe == Recipe::absmax) {
    const float s = std::max(static_cast<float>(amax) / static_cast<float>(largest(values)), 0x1p-126F);
    if (scales != Format::bf16) return s;
    const auto cut = std::bit_cast<float>(std::bit_cast<std::uint32_t>(s) & 0xffff0000U);
    return cut == s ? cut : std::bit_cast<float>(std::bit_cast<std::uint32_t>(cut) + 0x10000U);
  }
  int e = -200;
  if (recipe == Recipe::pow2) {
    while (std::ldexp(largest(values), e) < amax) ++e;
  } else {
    while (std::ldexp(1.0, e + 1) <= amax) ++e;
    e -= values == Format::e4m3 ? 8 : 15;
  }
  return static_cast<float>(std::ldexp(1.0, std::min(std::max(e, -126), 127)));
}

std::uint8_t expected_byte(Recipe recipe, Format values, float scale, float x) {
  if (recipe == Recipe::absmax || recipe == Recipe::fixed) return nearest_code(values, x / scale);
  return nearest_code(values, static_cast<float>(static_cast<double>(x) / static_cast<double>(scale)));
}

float load_scale(Format format, const std::vector<std::byte>& bytes, std::size_t i) {
  if (format == Format::e8m0) return std::ldexp(1.0F, std::to_integer<int>(bytes[i]) - 127);
  std::uint32_t bits = 0;
  std::memcpy(format == Format::f32 ? reinterpret_cast<char*>(&bits) : reinterpret_cast<char*>(&bits) + 2,
              bytes.data() + i * static_cast<std::size_t>(element_bytes(format)),
              static_cast<std::size_t>(element_bytes(format)));
  return std::bit_cast<float>(bits);
}

struct Copy {
  std::vector<std::byte> values;
  std::vector<std::byte> scales;
  QuantizedOut out;
};

struct Wanted {
  Format values;
  Format scales;
  Recipe recipe;
  std::int64_t block_rows;
  std::int64_t block_cols;
};

std::int64_t blocks(std::int64_t dim, std::int64_t block) { return block == kWholeAxis ? 1 : (dim + block - 1) / block; }

void prepare(Copy& copy, const Wanted& w, std::int64_t rows, std::int64_t cols, const std::vector<std::int64_t>* sizes,
             bool transposed = false) {
  std::int64_t scale_rows = blocks(rows, w.block_rows);
  if (sizes != nullptr) {
    scale_rows = 0;
    for (const std::int64_t size : *sizes) scale_rows += blocks(size, w.block_rows);
  }
  const std::int64_t scale_cols = blocks(cols, w.block_cols);
  copy.values.assign(static_cast<std::size_t>(rows * cols), std::byte{0xaa});
  copy.scales.assign(static_cast<std::size_t>(scale_rows * scale_cols * element_bytes(w.scales)), std::byte{0xaa});
  copy.out.values = matrix(static_cast<void*>(copy.values.data()), w.values, rows, cols);
  if (transposed) copy.out.values = matrix(static_cast<void*>(copy.values.data()), w.values, cols, rows).transposed();
  copy.out.scales = {matrix(static_cast<void*>(copy.scales.data()), w.scales, scale_rows, scale_cols), w.block_rows,
                     w.block_cols};
  copy.out.recipe = w.recipe;
}

std::vector<float> make_input(std::int64_t rows, std::int64_t cols, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> x(static_cast<std::size_t>(rows * cols));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto r = random();
    x[i] = std::ldexp(static_cast<float>(static_cast<int>(r % 2001) - 1000) / 640.0F, static_cast<int>(r >> 20 & 15) - 8);
    if (i % 41 == 0) x[i] = 0;
  }
  return x;
}

const std::vector<Wanted>& wanted() {
  constexpr std::int64_t all = kWholeAxis;
  static const std::vector<Wanted> list = {
      {Format::e4m3, Format::f32, Recipe::absmax, 1, 128},   {Format::e4m3, Format::f32, Recipe::absmax, 128, 1},
      {Format::e4m3, Format::f32, Recipe::absmax, 128, 128}, {Format::e5m2, Format::bf16, Recipe::absmax, 3, 5},
      {Format::i8, Format::f32, Recipe::absmax, 1, all},     {Format::e4m3, Format::e8m0, Recipe::pow2, 1, 32},
      {Format::e5m2, Format::f32, Recipe::pow2, 7, all},     {Format::e4m3, Format::e8m0, Recipe::mx, 1, 32},
      {Format::e5m2, Format::e8m0, Recipe::mx, 32, 1},       {Format::i8, Format::e8m0, Recipe::pow2, all, all},
      {Format::e4m3, Format::bf16, Recipe::pow2, 1, 1},      {Format::e4m3, Format::f32, Recipe::absmax, all, 1}};
  return list;
}

/// Checks a copy of `x` against the independent quantiser, for rows cut into blocks by `begin`s of blocks in [first, end).
void expect_block(const Copy& copy, const Wanted& w, const std::vector<float>& x, std::int64_t cols, std::int64_t row_begin,
                  std::int64_t row_end, std::int64_t scale_row) {
  for (std::int64_t c0 = 0, sc = 0; c0 < cols; ++sc) {
    const std::int64_t c1 = w.block_cols == kWholeAxis ? cols : std::min(cols, c0 + w.block_cols);
    double amax = 0;
    for (std::int64_t r = row_begin; r < row_end; ++r) {
      for (std::int64_t c = c0; c < c1; ++c) {
        const auto v = static_cast<double>(x[static_cast<std::size_t>(r * cols + c)]);
        if (std::isfinite(v)) amax = std::max(amax, std::abs(v));
      }
    }
    const float scale = load_scale(w.scales, copy.scales, static_cast<std::size_t>(scale_row * copy.out.scales.view.cols + sc));
    ASSERT_EQ(scale, expected_scale(w.recipe, w.values, w.scales, amax))
        << "scale (" << scale_row << ", " << sc << ") of amax " << amax;
    for (std::int64_t r = row_begin; r < row_end; ++r) {
      for (std::int64_t c = c0; c < c1; ++c) {
        const std::int64_t at = r * copy.out.values.row_stride + c * copy.out.values.col_stride;
        const float v = x[static_cast<std::size_t>(r * cols + c)];
        ASSERT_EQ(std::to_integer<int>(copy.values[static_cast<std::size_t>(at)]), expected_byte(w.recipe, w.values, scale, v))
            << "(" << r << ", " << c << ") of " << v;
      }
    }
    c0 = c1;
  }
}

void expect_rows(const Copy& copy, const Wanted& w, const std::vector<float>& x, std::int64_t cols, std::int64_t begin,
                 std::int64_t end, std::int64_t& scale_row) {
  if (w.block_rows == kWholeAxis && begin == end) ++scale_row;
  for (std::int64_t r = begin; r < end; ++scale_row) {
    const std::int64_t next = w.block_rows == kWholeAxis ? end : std::min(end, r + w.block_rows);
    expect_block(copy, w, x, cols, r, next, scale_row);
    r = next;
  }
}

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

TEST(Quantize, ThreadsAndFloatEnvironmentChangeNothing) {
  const std::vector<float> x = make_input(300, 90, 3);
  const ConstView input = matrix(static_cast<const void*>(x.data()), Format::f32, 300, 90);
  for (const Wanted& w : wanted()) {
    Copy expected;
    prepare(expected, w, 300, 90, nullptr);
    ASSERT_TRUE(quantize({input, {}, expected.out}).ok());
    for (const int threads : {1, 2, 3, 5}) {
      Copy copy;
      prepare(copy, w, 300, 90, nullptr);
      Options options;
      options.threads = threads;
      const unsigned before = _mm_getcsr();
      _mm_setcsr(threads % 2 == 0 ? 0x7f80U : 0x9fc0U);
      const Status status = quantize({input, {}, copy.out}, options);
      _mm_setcsr(before);
      ASSERT_TRUE(status.ok());
      EXPECT_EQ(copy.values, expected.values);
      EXPECT_EQ(copy.scales, expected.scales);
    }
  }
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

}  // namespace
}  // namespace ragdot
