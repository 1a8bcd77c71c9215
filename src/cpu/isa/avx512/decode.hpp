// FP8 codes to bf16 by table: two byte lookups give the high and the low byte of a value, two more put the bytes in order.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <array>
#include <bit>
#include <cstdint>

#include "cpu/isa/target.hpp"
#include "format/e4m3.hpp"
#include "format/e5m2.hpp"
#include "format/fault.hpp"
#include "ragdot/types.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512VBMI)

namespace ragdot::cpu::avx512 {
namespace {

/// Bytes of the bf16 values of codes 0..127; the sign is bit 7 of code and of high byte alike.
struct alignas(64) CodeBytes {
  std::array<std::uint8_t, 128> low{};
  std::array<std::uint8_t, 128> high{};
};

constexpr CodeBytes code_bytes(const std::array<float, 256>& values) {
  CodeBytes bytes;
  for (std::size_t code = 0; code < 128; ++code) {
    const auto bits = std::bit_cast<std::uint32_t>(values[code]);
    bytes.low[code] = static_cast<std::uint8_t>(bits >> 16);
    bytes.high[code] = static_cast<std::uint8_t>(bits >> 24);
  }
  return bytes;
}

template <Format kFormat>
inline constexpr CodeBytes kCodeBytes = code_bytes(kFormat == Format::e4m3 ? format::kE4m3ToF32 : format::kE5m2ToF32);

/// Where the 64 bytes of 32 bf16 values come from: byte index into the 64 low bytes, then the 64 high bytes, of 64 codes.
using ByteOrder = std::array<std::uint8_t, 64>;

/// The order in which bf16 value i is code `code(i)`.
template <class Code>
constexpr ByteOrder byte_order(Code code) {
  ByteOrder order{};
  for (std::size_t i = 0; i < 32; ++i) {
    order[2 * i] = static_cast<std::uint8_t>(code(i));
    order[2 * i + 1] = static_cast<std::uint8_t>(64 + code(i));
  }
  return order;
}

/// Adds `steps` (whole exponents, shifted into place) to the values of `lanes` that are neither zero nor Inf nor NaN.
inline __m512i moved(__m512i values, __m512i steps, __mmask32 lanes = ~__mmask32{0}) {
  const __m512i below = _mm512_sub_epi16(_mm512_and_si512(values, _mm512_set1_epi16(0x7fff)), _mm512_set1_epi16(1));
  const __mmask32 finite = _mm512_mask_cmplt_epu16_mask(lanes, below, _mm512_set1_epi16(0x7f7f));
  return _mm512_mask_add_epi16(values, finite, values, steps);
}

/// The bytes of 64 bf16 values at a time, in the order of their codes, times a power of two: `steps` as in moved().
template <Format kFormat>
class ByteTables {
 public:
  explicit ByteTables(int steps = 0)
      : low0_(_mm512_load_si512(kCodeBytes<kFormat>.low.data())),
        low1_(_mm512_load_si512(kCodeBytes<kFormat>.low.data() + (fault::on(fault::Id::table_of_lower_codes) ? 0 : 64))),
        high0_(_mm512_load_si512(kCodeBytes<kFormat>.high.data())),
        high1_(_mm512_load_si512(kCodeBytes<kFormat>.high.data() + 64)) {
    if (steps == 0) return;
    move(low0_, high0_, steps);
    move(low1_, high1_, steps);
  }

  [[gnu::always_inline]] void operator()(__m512i codes, __m512i& low, __m512i& high) const {
    constexpr int kOrAnd = 0xf8;  // a | (b & c)
    low = _mm512_permutex2var_epi8(low0_, codes, low1_);
    const __m512i magnitude = _mm512_permutex2var_epi8(high0_, codes, high1_);
    high = _mm512_ternarylogic_epi32(magnitude, codes, _mm512_set1_epi8(static_cast<char>(0x80)), kOrAnd);
  }

 private:
  static void move(__m512i& low, __m512i& high, int steps) {
    const __m512i by = _mm512_set1_epi16(static_cast<std::int16_t>(steps));
    const __m512i words0 = moved(_mm512_unpacklo_epi8(low, high), by);
    const __m512i words1 = moved(_mm512_unpackhi_epi8(low, high), by);
    const __m512i low_byte = _mm512_set1_epi16(0xff);
    low = _mm512_packus_epi16(_mm512_and_si512(words0, low_byte), _mm512_and_si512(words1, low_byte));
    high = _mm512_packus_epi16(_mm512_srli_epi16(words0, 8), _mm512_srli_epi16(words1, 8));
  }

  __m512i low0_;
  __m512i low1_;
  __m512i high0_;
  __m512i high1_;
};

/// 64 codes at a time, as two vectors of 32 bf16 values in any order.
template <Format kFormat>
class Decoder {
 public:
  Decoder(const ByteOrder& first, const ByteOrder& second, int steps = 0)
      : tables_(steps), first_(_mm512_loadu_si512(first.data())), second_(_mm512_loadu_si512(second.data())) {}

  void operator()(__m512i codes, __m512i& first, __m512i& second) const {
    __m512i low;
    __m512i high;
    tables_(codes, low, high);
    first = _mm512_permutex2var_epi8(low, first_, high);
    second = _mm512_permutex2var_epi8(low, second_, high);
  }

 private:
  ByteTables<kFormat> tables_;
  __m512i first_;
  __m512i second_;
};

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
