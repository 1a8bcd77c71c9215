// A quantiser for tests that shares nothing with the library's: own amax, own scale in double, own nearest code by search.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "ragdot/quantize.hpp"

namespace ragdot::independent {

inline constexpr std::int64_t kAll = kWholeAxis;

/// Row-major f32 as an input.
inline ConstView dense(const std::vector<float>& x, std::int64_t rows, std::int64_t cols) {
  return matrix(static_cast<const void*>(x.data()), Format::f32, rows, cols);
}

inline double code_value(Format format, unsigned code) {
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

inline double largest(Format f) { return f == Format::e4m3 ? 448 : f == Format::e5m2 ? 57344 : 127; }

/// Nearest code of a finite x, ties to even, saturated.
inline std::uint8_t nearest_code(Format format, float x) {
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
inline float expected_scale(Recipe recipe, Format values, Format scales, double amax) {
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

inline std::uint8_t expected_byte(Recipe recipe, Format values, float scale, float x) {
  if (recipe == Recipe::absmax || recipe == Recipe::fixed) return nearest_code(values, x / scale);
  return nearest_code(values, static_cast<float>(static_cast<double>(x) / static_cast<double>(scale)));
}

inline float load_scale(Format format, const std::vector<std::byte>& bytes, std::size_t i) {
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

inline std::int64_t blocks(std::int64_t dim, std::int64_t block) { return block == kWholeAxis ? 1 : (dim + block - 1) / block; }

inline void prepare(Copy& copy, const Wanted& w, std::int64_t rows, std::int64_t cols, const std::vector<std::int64_t>* sizes,
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

inline std::vector<float> make_input(std::int64_t rows, std::int64_t cols, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> x(static_cast<std::size_t>(rows * cols));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto r = random();
    x[i] = std::ldexp(static_cast<float>(static_cast<int>(r % 2001) - 1000) / 640.0F, static_cast<int>(r >> 20 & 15) - 8);
    if (i % 41 == 0) x[i] = 0;
  }
  return x;
}

inline const std::vector<Wanted>& wanted() {
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

/// Checks the blocks of rows [row_begin, row_end), which share scale row `scale_row`, against the independent quantiser.
inline void expect_block(const Copy& copy, const Wanted& w, const std::vector<float>& x, std::int64_t cols,
                         std::int64_t row_begin, std::int64_t row_end, std::int64_t scale_row) {
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
    if (w.recipe != Recipe::fixed) {
      ASSERT_EQ(scale, expected_scale(w.recipe, w.values, w.scales, amax))
          << "scale (" << scale_row << ", " << sc << ") of amax " << amax;
    }
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

/// The same for all rows of a group; moves scale_row behind it.
inline void expect_rows(const Copy& copy, const Wanted& w, const std::vector<float>& x, std::int64_t cols, std::int64_t begin,
                        std::int64_t end, std::int64_t& scale_row) {
  if (w.block_rows == kWholeAxis && begin == end) ++scale_row;
  for (std::int64_t r = begin; r < end; ++scale_row) {
    const std::int64_t next = w.block_rows == kWholeAxis ? end : std::min(end, r + w.block_rows);
    expect_block(copy, w, x, cols, r, next, scale_row);
    r = next;
  }
}

}  // namespace ragdot::independent
