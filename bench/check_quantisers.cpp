// Quantised copies against their originals, by a decoder of its own.
#include <fmt/format.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "bench/check.hpp"
#include "bench/contenders/quantisers.hpp"
#include "testing/expected.hpp"

namespace ragdot::bench {
namespace {

using testing::Case;

std::array<double, 256> e4m3_values() {
  std::array<double, 256> values{};
  for (unsigned code = 0; code < values.size(); ++code) {
    const auto exponent = static_cast<int>(code >> 3 & 15U);
    const auto mantissa = static_cast<double>(code & 7U);
    const double size = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    values[code] = (code & 0x80U) != 0 ? -size : size;
  }
  return values;
}

/// value * scale of a dense e4m3 operand with f32 scales.
class Dequantised {
 public:
  Dequantised(const ConstView& values, const ConstView& scales, std::int64_t block_rows, std::int64_t block_cols)
      : values_(values), scales_(scales), block_rows_(block_rows), block_cols_(block_cols) {}

  [[nodiscard]] double scale(std::int64_t row, std::int64_t col) const {
    return testing::output_at(Format::f32, scales_.data, row / block_rows_ * scales_.cols + col / block_cols_);
  }
  [[nodiscard]] double at(std::int64_t row, std::int64_t col) const {
    static const std::array<double, 256> kValues = e4m3_values();
    const auto* codes = static_cast<const std::uint8_t*>(values_.data);
    return kValues[codes[row * values_.cols + col]] * scale(row, col);
  }

 private:
  ConstView values_;
  ConstView scales_;
  std::int64_t block_rows_;
  std::int64_t block_cols_;
};

/// First place where `is_wrong(row, col)`, as a sentence with what `words` says about it; empty for none.
template <class Wrong, class Words>
std::string first_wrong(const ConstView& shape, Wrong is_wrong, Words words) {
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    for (std::int64_t col = 0; col < shape.cols; ++col) {
      if (is_wrong(row, col)) return fmt::format("(row {}, col {}): {}", row, col, words(row, col));
    }
  }
  return "";
}

}  // namespace

std::string refusal_of_quantiser(Stage stage, const Case& c, testing::Bytes out) {
  const ConstView& plain = c.lhs.plain;
  const auto original = [&](std::int64_t row, std::int64_t col) {
    return testing::output_at(Format::bf16, plain.data, row * plain.cols + col);
  };
  const auto against = [&](const auto& expected, const auto& got, auto half_step) {
    return first_wrong(
        plain, [&](auto r, auto col) { return !(std::abs(expected(r, col) - got(r, col)) <= half_step(r, col)); },
        [&](auto r, auto col) { return fmt::format("{:.9g} became {:.9g}", expected(r, col), got(r, col)); });
  };
  if (stage == Stage::dequantize) {
    const Scales& s = c.lhs.operand.scales;
    const Dequantised exact(c.lhs.operand.values, s.view, s.block_rows, s.block_cols);
    return against([&](auto r, auto col) { return exact.at(r, col); },
                   [&](auto r, auto col) { return testing::output_at(Format::bf16, out.data(), r * plain.cols + col); },
                   [&](auto r, auto col) { return std::abs(exact.at(r, col)) * (0x1p-8 + 0x1p-23); });
  }
  for (const QuantizedOut& copy : copies_in(stage, c, out.data())) {
    const Dequantised got(copy.values, copy.scales.view, copy.scales.block_rows, copy.scales.block_cols);
    const std::string wrong = against(
        original, [&](auto r, auto col) { return got.at(r, col); },
        [&](auto r, auto col) {
          const double step = std::max(std::abs(original(r, col)) * 0x1p-4, got.scale(r, col) * 0x1p-10);
          return step * (1 + 0x1p-20);
        });
    if (!wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace ragdot::bench
