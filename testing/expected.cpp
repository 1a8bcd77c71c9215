// Own rounding and own activations in double, nothing shared with the library.
#include "testing/expected.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace ragdot::testing {
namespace {

constexpr double kUnit = 0x1p-24;

double activated(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return x > 0 ? x : 0;
    case Activation::tanh: return std::tanh(x);
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::gelu_tanh: return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::gelu_erf: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  }
  return x;
}

double steepest(Activation activation) {
  switch (activation) {
    case Activation::silu: return 1.10;
    case Activation::gelu_tanh:
    case Activation::gelu_erf: return 1.13;
    default: return 1;
  }
}

/// One f32 addition: what is added counts as zero where it is subnormal, and so does the sum.
void add(Expected& e, double x) {
  constexpr double kFlushed = 0x1p-125;
  e.value += x;
  e.bound += kUnit * (std::abs(e.value) + e.bound) + kFlushed;
}

}  // namespace

double rounded_to(Format format, double x) {
  if (x == 0 || !std::isfinite(x)) return x;
  const int bits = format == Format::f32 ? 24 : format == Format::bf16 ? 8 : 11;
  const int least = format == Format::f16 ? -24 : -149;  // exponent of the smallest step
  const double largest = format == Format::f16    ? 65504.0
                         : format == Format::bf16 ? 0x1.fep127
                                                  : static_cast<double>(std::numeric_limits<float>::max());
  int exponent = 0;
  std::frexp(x, &exponent);
  const int step = std::max(exponent - bits, least);
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -step)), step);
  return std::abs(rounded) > largest ? std::copysign(std::numeric_limits<double>::infinity(), x) : rounded;
}

Expected expected_output(const reference::Exact& exact, const Finish& f) {
  Expected e{exact.value, exact.bound, 0, 0};
  if (f.has_bias) add(e, f.bias);
  if (f.activation != Activation::none) {
    const double x = std::abs(e.value) + e.bound;
    e.value = activated(f.activation, e.value);
    const double own = f.activation == Activation::relu ? 0 : std::max(4 * 2 * kUnit * std::abs(e.value), kUnit * x);
    e.bound = steepest(f.activation) * e.bound + own + 0x1p-126;
  }
  if (f.accumulates) add(e, f.before);
  e.low = rounded_to(f.out, e.value - e.bound);
  e.high = rounded_to(f.out, e.value + e.bound);
  return e;
}

double output_at(Format format, const void* data, std::int64_t index) {
  const auto* bytes = static_cast<const std::byte*>(data);
  if (format == Format::f32) {
    float x = 0;
    std::memcpy(&x, bytes + 4 * index, 4);
    return static_cast<double>(x);
  }
  std::uint16_t half = 0;
  std::memcpy(&half, bytes + 2 * index, 2);
  if (format == Format::bf16) return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16));
  const int exponent = half >> 10 & 31;
  const int mantissa = half & 1023;
  const double sign = half >> 15 != 0 ? -1 : 1;
  if (exponent == 31)
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  return sign * (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

void store_output(Format format, double x, void* data, std::int64_t index) {
  auto* bytes = static_cast<std::byte*>(data);
  const double rounded = rounded_to(format, x);
  const auto bits = std::isnan(x) ? 0x7fc00000U : std::bit_cast<std::uint32_t>(static_cast<float>(rounded));
  if (format == Format::f32) {
    std::memcpy(bytes + 4 * index, &bits, 4);
    return;
  }
  auto half = static_cast<std::uint16_t>(bits >> 16);  // bf16
  if (format == Format::f16) {
    const double size = std::abs(rounded);
    int exponent = 0;
    std::frexp(size, &exponent);  // size < 2^exponent
    const int step = std::max(exponent - 11, -24);
    const int field = std::isfinite(size) && exponent >= -13 && size != 0 ? exponent + 14 : std::isfinite(size) ? 0 : 31;
    const int digits = std::isnan(size) ? 512 : field == 31 ? 0 : static_cast<int>(std::ldexp(size, -step)) & 1023;
    half = static_cast<std::uint16_t>((std::signbit(rounded) && !std::isnan(size) ? 0x8000 : 0) | field << 10 | digits);
  }
  std::memcpy(bytes + 2 * index, &half, 2);
}

}  // namespace ragdot::testing
