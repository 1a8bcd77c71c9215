// The recipes, from bits alone: no libm, no reciprocals.
#include "cpu/quantize/recipe.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "format/memory.hpp"

namespace ragdot::cpu {
namespace {

constexpr float kSmallestScale = 0x1p-126F;

float largest(Format values) {
  return values == Format::e4m3 ? format::kE4m3Max : values == Format::e5m2 ? format::kE5m2Max : 127.0F;
}

/// |x| = mantissa * 2^exponent with 2^23 <= mantissa < 2^24, for subnormals too; x is not zero.
struct Split {
  int exponent;
  std::uint32_t mantissa;
};

Split split(std::uint32_t bits) {
  const std::uint32_t field = bits >> 23;
  std::uint32_t mantissa = bits & 0x7fffffU;
  if (field != 0) return {static_cast<int>(field) - 150, mantissa | 0x800000U};
  const int shift = std::countl_zero(mantissa) - 8;
  mantissa <<= shift;
  return {-149 - shift, mantissa};
}

/// 2^e clamped to e8m0 codes 1..254.
float power_of_two(int e) { return std::bit_cast<float>(static_cast<std::uint32_t>(std::clamp(e + 127, 1, 254)) << 23); }

/// Smallest e with amax <= fmax * 2^e.
int ceil_log2_ratio(std::uint32_t amax_bits, float fmax) {
  const Split a = split(amax_bits);
  const Split f = split(std::bit_cast<std::uint32_t>(fmax));
  return a.exponent - f.exponent + (a.mantissa > f.mantissa ? 1 : 0);
}

float rounded_up_to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0xffffU) & 0xffff0000U);
}

std::uint8_t f32_to_i8(float x) {
  constexpr float kRound = 0x1.8p23F;  // adding it rounds to an integer, nearest even
  const float clamped = std::clamp(x, -127.0F, 127.0F);
  return static_cast<std::uint8_t>(static_cast<std::int32_t>((clamped + kRound) - kRound));
}

/// The quotients stay in the first-level cache between the two loops, which vectorise one by one only.
template <class Encode>
void encode_with(Encode to_byte, Recipe recipe, const float* factors, std::span<const float> row, std::byte* out) {
  constexpr std::int64_t kRun = 256;
  const bool divides = recipe == Recipe::absmax || recipe == Recipe::fixed;
  std::array<float, kRun> quotients;
  for (std::int64_t first = 0; first < static_cast<std::int64_t>(row.size()); first += kRun) {
    const std::int64_t count = std::min(kRun, static_cast<std::int64_t>(row.size()) - first);
    const float* x = row.data() + first;
    const float* f = factors + first;
    float* q = quotients.data();
    if (divides) {
      for (std::int64_t i = 0; i < count; ++i) q[i] = x[i] / f[i];
    } else {
      for (std::int64_t i = 0; i < count; ++i) q[i] = x[i] * f[i];
    }
    for (std::int64_t i = 0; i < count; ++i) out[first + i] = std::byte{to_byte(q[i])};
  }
}

}  // namespace

float block_scale(Recipe recipe, Format values, Format scales, std::uint32_t amax_bits) {
  if (amax_bits == 0) return 1.0F;
  if (recipe == Recipe::absmax) {
    const float scale = std::max(std::bit_cast<float>(amax_bits) / largest(values), kSmallestScale);
    return scales == Format::bf16 ? rounded_up_to_bf16(scale) : scale;
  }
  if (recipe == Recipe::pow2) return power_of_two(ceil_log2_ratio(amax_bits, largest(values)));
  const int emax = values == Format::e4m3 ? 8 : 15;
  return power_of_two(split(amax_bits).exponent + 23 - emax);
}

void store_scale(Format format, float scale, std::byte* at) {
  const auto bits = std::bit_cast<std::uint32_t>(scale);
  switch (format) {
    case Format::f32: return format::store(at, scale);
    case Format::bf16: return format::store(at, static_cast<std::uint16_t>(bits >> 16));
    default: return format::store(at, static_cast<std::uint8_t>(bits >> 23));  // e8m0
  }
}

float factor_of(Recipe recipe, float scale) {
  if (recipe == Recipe::absmax || recipe == Recipe::fixed) return scale;
  // No block has an exponent above 122 (the largest f32 over 127, rounded up), so the reciprocal is a normal number.
  return std::bit_cast<float>((254U << 23) - std::bit_cast<std::uint32_t>(scale));
}

void encode(Recipe recipe, Format values, const float* factors, std::span<const float> x, std::byte* out) {
  if (values == Format::e4m3) return encode_with([](float q) { return format::f32_to_e4m3(q); }, recipe, factors, x, out);
  if (values == Format::e5m2) return encode_with([](float q) { return format::f32_to_e5m2(q); }, recipe, factors, x, out);
  encode_with(f32_to_i8, recipe, factors, x, out);
}

}  // namespace ragdot::cpu
