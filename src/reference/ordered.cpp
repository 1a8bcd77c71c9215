// The reduction order in scalar code on integers: no floating-point flag, instruction or library call decides a bit.
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>

#include "reference/decoded.hpp"
#include "reference/fused.hpp"
#include "reference/oracle.hpp"

namespace ragdot::reference {
namespace {

/// sign * mantissa * 2^exponent
struct Exactly {
  __int128 mantissa = 0;
  int exponent = 0;
};

Exactly split(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto field = static_cast<int>(bits >> 23 & 0xff);
  if (field == 0) return {};  // zero, and subnormals read as zero
  const auto mantissa = static_cast<__int128>((bits & 0x7fffffU) | 0x800000U);
  return {(bits >> 31) != 0 ? -mantissa : mantissa, field - 150};
}

/// a + b, where what lies more than 70 bits below the other is replaced by the least sign of its presence.
Exactly sum(Exactly a, Exactly b) {
  if (a.mantissa == 0) return b;
  if (b.mantissa == 0) return a;
  if (a.exponent < b.exponent) std::swap(a, b);
  if (a.exponent - b.exponent > 70) b = {b.mantissa < 0 ? -1 : 1, a.exponent - 70};
  return {(a.mantissa << (a.exponent - b.exponent)) + b.mantissa, b.exponent};
}

/// To 24 bits, nearest even, then zero if below 2^-126 and Inf if beyond the range.
float rounded(const Exactly& x) {
  if (x.mantissa == 0) return 0;
  const bool negative = x.mantissa < 0;
  auto magnitude = static_cast<unsigned __int128>(negative ? -x.mantissa : x.mantissa);
  int exponent = x.exponent;
  const auto high = static_cast<std::uint64_t>(magnitude >> 64);
  const auto width =
      static_cast<int>(high != 0 ? 64 + std::bit_width(high) : std::bit_width(static_cast<std::uint64_t>(magnitude)));
  if (width > 24) {
    const int drop = width - 24;
    const unsigned __int128 rest = magnitude & ((static_cast<unsigned __int128>(1) << drop) - 1);
    const unsigned __int128 half = static_cast<unsigned __int128>(1) << (drop - 1);
    magnitude >>= drop;
    exponent += drop;
    if (rest > half || (rest == half && (magnitude & 1) != 0)) ++magnitude;
    if (magnitude >> 24 != 0) {
      magnitude >>= 1;
      ++exponent;
    }
  } else {
    magnitude <<= 24 - width;
    exponent -= 24 - width;
  }
  const int field = exponent + 150;  // magnitude has exactly 24 bits now
  std::uint32_t bits = 0;
  if (field >= 255) {
    bits = 0x7f800000U;
  } else if (field >= 1) {
    bits = static_cast<std::uint32_t>(field) << 23 | (static_cast<std::uint32_t>(magnitude) & 0x7fffffU);
  }
  return std::bit_cast<float>(bits | (negative ? 0x80000000U : 0U));
}

}  // namespace

float fused(float a, float b, float c) {
  if (!std::isfinite(a) || !std::isfinite(b) || !std::isfinite(c)) {
    return static_cast<float>(static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(c));
  }
  const Exactly x = split(a);
  const Exactly y = split(b);
  const Exactly z = split(c);
  const Exactly product = {x.mantissa * y.mantissa, x.exponent + y.exponent};
  if (product.mantissa == 0 && z.mantissa == 0) {  // two zeros: the sign is theirs where they share it
    return std::signbit(a) != std::signbit(b) && std::signbit(c) ? -0.0F : 0.0F;
  }
  return rounded(sum(product, z));
}

struct Ordered::Decoded : DecodedCall {
  using DecodedCall::DecodedCall;

  /// p of elements [x, end).
  [[nodiscard]] float block(const Line& at, std::int64_t row, std::int64_t col, std::int64_t x, std::int64_t end) const {
    if (lhs.integers) {
      std::int64_t total = 0;
      for (; x < end; ++x)
        total += static_cast<std::int64_t>(lhs_value(at, row, x)) * static_cast<std::int64_t>(rhs_value(at, col, x));
      return rounded({total, 0});
    }
    float p = 0;
    for (; x < end; x += 32) {
      float chains[2] = {0, 0};
      for (std::int64_t i = 0; i < 32 && x + i < end; ++i) {
        chains[i % 2] = fused(lhs_value(at, row, x + i), rhs_value(at, col, x + i), chains[i % 2]);
      }
      p = fused(1, p, fused(1, chains[0], chains[1]));
    }
    return p;
  }
};

Ordered::Ordered(const GmmArgs& args) : decoded_(std::make_unique<Decoded>(args)) {}
Ordered::Ordered(const TgmmArgs& args) : decoded_(std::make_unique<Decoded>(args)) {}
Ordered::~Ordered() = default;

float Ordered::at(std::int64_t matrix, std::int64_t row, std::int64_t col) const {
  const Decoded& d = *decoded_;
  const DecodedCall::Line at = d.line(matrix, row);
  if (at.group < 0) return 0;
  float acc = 0;
  for (std::int64_t x = 0; x < at.depth;) {
    const std::int64_t end = d.segment_end(at, x);
    const float p = d.block(at, row, col, x, end);
    const float scale = fused(d.lhs_scale(at, row, x), d.rhs_scale(at, col, x), 0);
    acc = d.lhs.cuts || d.rhs.cuts ? fused(scale, p, acc) : p;
    x = end;
  }
  if (std::isnan(acc)) return std::bit_cast<float>(0x7fc00000U);
  return acc == 0 ? 0.0F : acc;
}

}  // namespace ragdot::reference
