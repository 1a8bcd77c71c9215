// One function for each family's values; scales are distinct powers of two for integers, any moderate number otherwise.
#include "testing/made.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <span>

namespace ragdot::testing {
namespace {

/// x as f32 or bf16.
void store_number(Format format, float x, std::byte* at) {
  const std::uint16_t half = to_bf16(x);
  format == Format::f32 ? std::memcpy(at, &x, 4) : std::memcpy(at, &half, 2);
}

/// An integer |v| <= 4 in a format.
void store_integer(Format format, int v, std::byte* at) {
  constexpr std::uint8_t kE4m3[] = {0x00, 0x38, 0x40, 0x44, 0x48};
  constexpr std::uint8_t kE5m2[] = {0x00, 0x3c, 0x40, 0x42, 0x44};
  const auto sign = static_cast<std::uint8_t>(v < 0 ? 0x80 : 0);
  switch (format) {
    case Format::f32:
    case Format::bf16: store_number(format, static_cast<float>(v), at); break;
    case Format::e4m3: *at = std::byte{static_cast<std::uint8_t>(kE4m3[std::abs(v)] | sign)}; break;
    case Format::e5m2: *at = std::byte{static_cast<std::uint8_t>(kE5m2[std::abs(v)] | sign)}; break;
    default: *at = static_cast<std::byte>(v);
  }
}

/// Any finite code of an 8-bit format; numbers of 2^low to 2^(low + range), about, for the others.
void store_code(Format format, int low, int range, Random& random, std::byte* at) {
  const float x = random.normal() * std::ldexp(1.0F, static_cast<int>(random.below(range + 1)) + low);
  auto code = static_cast<std::uint8_t>(random.next());
  if (format == Format::e4m3 && (code & 0x7f) == 0x7f) code = 0x7e;
  if (format == Format::e5m2 && (code & 0x7c) == 0x7c) code = 0x7b;
  if (format == Format::f32 || format == Format::bf16) {
    store_number(format, x, at);
  } else {
    *at = std::byte{code};
  }
}

/// Zeros, the ends of the subnormal and the normal numbers; and what is not finite. f32 takes those of bf16.
struct Specials {
  std::span<const std::uint16_t> finite;
  std::span<const std::uint16_t> others;
};

Specials value_specials(Format format) {
  static constexpr std::uint16_t kE4m3[] = {0x00, 0x80, 0x01, 0x87, 0x08, 0x7e, 0xfe}, kE4m3Nan[] = {0x7f, 0xff};
  static constexpr std::uint16_t kE5m2[] = {0x00, 0x80, 0x01, 0x83, 0x04, 0x7b, 0xfb};
  static constexpr std::uint16_t kE5m2Others[] = {0x7c, 0xfc, 0x7d, 0xfe};
  static constexpr std::uint16_t kI8[] = {0x00, 0x01, 0xff, 0x7f, 0x80};
  static constexpr std::uint16_t kBf16[] = {0x0000, 0x8000, 0x0001, 0x807f, 0x0080, 0x7f7f, 0xff7f};
  static constexpr std::uint16_t kBf16Others[] = {0x7f80, 0xff80, 0x7fc0, 0xff81};
  switch (format) {
    case Format::e4m3: return {kE4m3, kE4m3Nan};
    case Format::e5m2: return {kE5m2, kE5m2Others};
    case Format::i8: return {kI8, kI8};
    default: return {kBf16, kBf16Others};
  }
}

Specials scale_specials(Format format) {
  static constexpr std::uint16_t kE8m0[] = {0, 1, 254}, kE8m0Nan[] = {255};
  static constexpr std::uint16_t kBf16[] = {0x0000, 0x8000, 0x007f, 0x0080, 0xbfc0, 0x7f7f};
  static constexpr std::uint16_t kBf16Others[] = {0x7f80, 0xff80, 0x7fc0};
  return format == Format::e8m0 ? Specials{kE8m0, kE8m0Nan} : Specials{kBf16, kBf16Others};
}

/// One of `one_in` numbers is not finite, six are special: false for the others, where nothing is stored.
bool store_special(Format format, const Specials& specials, std::int64_t one_in, Random& random, std::byte* at) {
  const std::int64_t roll = random.below(one_in);
  if (roll > 6) return false;
  const std::span<const std::uint16_t> table = roll == 0 ? specials.others : specials.finite;
  const std::uint16_t bits = table[static_cast<std::size_t>(random.below(std::ssize(table)))];
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  switch (element_bytes(format)) {
    case 4: std::memcpy(at, &wide, 4); break;
    case 2: std::memcpy(at, &bits, 2); break;
    default: *at = static_cast<std::byte>(bits);
  }
  return true;
}

}  // namespace

Maker::Maker(Family family, Random& random) : family_(family), random_(random) {
  constexpr int kExponents[] = {0, 0, -62, 55};
  if (family == Family::edges) exponent_ = kExponents[random.below(4)];
}

void Maker::store_value(Format format, std::byte* at) {
  switch (family_) {
    case Family::integers: store_integer(format, static_cast<int>(random_.below(9)) - 4, at); break;
    case Family::edges:
      if (!store_special(format, value_specials(format), 1024, random_, at)) store_code(format, exponent_ - 4, 8, random_, at);
      break;
    default: store_code(format, -20, 40, random_, at);
  }
}

void Maker::store_scale(Format format, std::int64_t i, std::byte* at) {
  if (family_ == Family::edges && store_special(format, scale_specials(format), 256, random_, at)) return;
  const int exponent =
      exponent_ + (family_ == Family::integers ? static_cast<int>(i % 5) - 2 : static_cast<int>(random_.below(13)) - 6);
  if (format == Format::e8m0) {
    *at = static_cast<std::byte>(127 + exponent);
    return;
  }
  const float fraction = family_ == Family::integers ? 1.0F : 1.0F + static_cast<float>(random_.unit());
  store_number(format, std::ldexp(fraction, exponent), at);
}

}  // namespace ragdot::testing
