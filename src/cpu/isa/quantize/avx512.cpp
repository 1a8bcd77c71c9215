// The quantisers' inner loops with AVX-512: 16 f32 in a register.
#include "cpu/isa/features.hpp"
#include "cpu/isa/intrinsics.hpp"

#include <array>

#include "cpu/isa/quantize/tables.hpp"
#include "cpu/isa/target.hpp"
#include "cpu/quantize/recipe.hpp"
#include "format/memory.hpp"

namespace ragdot::cpu {

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512VBMI)
namespace {

constexpr int kExponent = static_cast<int>(format::kF32Exponent);
constexpr int kNan = static_cast<int>(format::kF32Nan);
constexpr int kHighWord = static_cast<int>(0xffff0000);
constexpr short kWithoutBit14 = static_cast<short>(0xbfff);
constexpr std::int64_t kLanes = 16;
using Floats = __m512;
using Ints = __m512i;
using Mask = __mmask16;

Floats load_floats(const void* p) { return _mm512_loadu_ps(static_cast<const float*>(p)); }
Ints load_ints(const void* p) { return _mm512_loadu_si512(p); }
void store_ints(void* p, Ints x) { _mm512_storeu_si512(p, x); }
Ints load_words(const void* p) { return _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p))); }
void store_words(void* p, Ints x) { _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x)); }
void store_bytes(void* p, Ints x) { _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x)); }

Floats spread(float x) { return _mm512_set1_ps(x); }
Ints ints(int x) { return _mm512_set1_epi32(x); }
Ints bits(Floats x) { return _mm512_castps_si512(x); }
Floats floats(Ints x) { return _mm512_castsi512_ps(x); }

Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
Ints to_nearest(Floats x) { return _mm512_cvtps_epi32(x); }

Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
template <int kBits>
Ints shift_left(Ints x) {
  return _mm512_slli_epi32(x, kBits);
}
template <int kBits>
Ints shift_right(Ints x) {
  return _mm512_srli_epi32(x, kBits);
}

Mask is_nan(Floats x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q); }
Mask any_nan(Floats a, Floats b, Floats c, Floats d) {
  return _kor_mask16(_mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q), _mm512_cmp_ps_mask(c, d, _CMP_UNORD_Q));
}
bool none(Mask m) { return m == 0; }
Ints select(Mask m, Ints yes, Ints no) { return _mm512_mask_mov_epi32(no, m, yes); }

Ints magnitude_bits(Floats x) { return _mm512_and_epi32(bits(x), ints(0x7fffffff)); }
Mask not_finite(Floats x) { return _mm512_cmpge_epi32_mask(magnitude_bits(x), ints(kExponent)); }

/// The larger of most and the bits of |x|, most where x is NaN or Inf.
Ints raise(Ints most, Floats x) {
  const Ints magnitude = magnitude_bits(x);
  const Mask finite = _mm512_cmplt_epi32_mask(magnitude, ints(kExponent));
  return _mm512_mask_max_epi32(most, finite, most, magnitude);
}
/// The same for bf16 in words.
Ints raise_words(Ints most, Ints x) {
  const Ints magnitude = _mm512_and_si512(x, _mm512_set1_epi16(0x7fff));
  const __mmask32 finite = _mm512_cmplt_epi16_mask(magnitude, _mm512_set1_epi16(kExponent >> 16));
  return _mm512_mask_max_epi16(most, finite, most, magnitude);
}
std::uint32_t largest(Ints x) { return static_cast<std::uint32_t>(_mm512_reduce_max_epi32(x)); }
/// The largest words among them.
__m128i eight_largest_words(Ints x) {
  const __m256i half = _mm256_max_epi16(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
  return _mm_max_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/// min(|x|, limit), limit where x is NaN.
Floats magnitude_up_to(Floats x, float limit) {
  constexpr int kSmallerMagnitude = 0b0010;
  constexpr int kPositive = 0b1000;
  return _mm512_range_ps(x, spread(limit), kSmallerMagnitude | kPositive);
}

/// The bits of yes where mask has ones, else those of no.
Ints select_bits(Ints mask, Ints yes, Ints no) {
  constexpr int kSecondWhereFirst = 0xca;
  return _mm512_ternarylogic_epi32(mask, yes, no, kSecondWhereFirst);
}

Floats load_f16(const std::byte* p) {
  const Floats x = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return floats(select(is_nan(x), ints(kNan), bits(x)));
}
void store_f16(std::byte* p, Ints x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(floats(x), _MM_FROUND_TO_NEAREST_INT));
}

/// FP8 as f16: e5m2 is the upper half of one; e4m3 has one exponent bit less and another bias, which makes it 2^8 times
/// smaller.
Floats load_e4m3(const std::byte* p) {
  const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const __m256i halves = _mm256_and_si256(_mm256_slli_epi16(_mm256_cvtepi8_epi16(codes), 7), _mm256_set1_epi16(kWithoutBit14));
  const Mask nan = _mm_cmpeq_epi8_mask(_mm_and_si128(codes, _mm_set1_epi8(0x7f)), _mm_set1_epi8(0x7f));
  const Floats values = multiply(_mm512_cvtph_ps(halves), spread(0x1p8F));
  return floats(select(nan, ints(kNan), bits(values)));
}
Floats load_e5m2(const std::byte* p) {
  const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  const Floats values = _mm512_cvtph_ps(_mm256_slli_epi16(_mm256_cvtepu8_epi16(codes), 8));
  return floats(select(is_nan(values), ints(kNan), bits(values)));
}
Floats load_i8(const std::byte* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

/// The low bytes of four vectors, one behind the other.
void store_bytes(void* p, Ints a, Ints b, Ints c, Ints d) {
  // Packing works within 16-byte parts, so that every part holds four bytes of each vector.
  const Ints parts = _mm512_packus_epi16(_mm512_packus_epi32(a, b), _mm512_packus_epi32(c, d));
  const Ints order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  store_ints(p, _mm512_permutexvar_epi32(order, parts));
}

/// Where each byte of a result comes from: of two registers, one behind the other.
template <class Place>
constexpr std::array<std::uint8_t, 64> bytes_from(Place place) {
  std::array<std::uint8_t, 64> from{};
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::uint8_t>(place(i));
  return from;
}

/// The low bytes of a and b by turns, and behind them those of c and d.
Ints zipped_bytes(Ints a, Ints b, Ints c, Ints d) {
  static constexpr auto kByTurns = bytes_from([](std::size_t i) { return i % 2 * 64 + i / 2 % 16 * 4; });
  const Ints order = load_ints(kByTurns.data());
  const Ints late = _mm512_permutex2var_epi8(c, order, d);
  return _mm512_inserti64x4(_mm512_permutex2var_epi8(a, order, b), _mm512_castsi512_si256(late), 1);
}
/// The high bytes of words, and behind them those of `late`.
Ints high_bytes(Ints words, Ints late) {
  static constexpr auto kHigh = bytes_from([](std::size_t i) { return 2 * i + 1; });
  return _mm512_permutex2var_epi8(words, load_ints(kHigh.data()), late);
}
/// Of two vectors, one behind the other.
Floats even_lanes(Floats a, Floats b) {
  const Ints order = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return _mm512_permutex2var_ps(a, order, b);
}
Floats odd_lanes(Floats a, Floats b) {
  const Ints order = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return _mm512_permutex2var_ps(a, order, b);
}

/// 16 bytes from each of p, p + step, ...
Ints load_parts(const std::byte* p, std::int64_t step) {
  const auto part = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * step)); };
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(part(0)), part(1), 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(part(2)), part(3), 1);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
/// Past the caches, to the address of a cache line.
void stream_ints(void* p, Ints x) { _mm512_stream_si512(static_cast<__m512i*>(p), x); }
Ints interleave_low(Ints a, Ints b) { return _mm512_unpacklo_epi8(a, b); }
Ints interleave_high(Ints a, Ints b) { return _mm512_unpackhi_epi8(a, b); }

#include "cpu/isa/quantize/rows.hpp"

}  // namespace
RAGDOT_TARGET_END

namespace {

const char* refusal() {
  return features().avx512() && features().avx512vbmi && features().avx2 && features().fma && features().f16c
             ? nullptr
             : "this CPU has no AVX-512 with F, BW, DQ, VL and VBMI";
}

}  // namespace

constinit const Routines avx512::kRoutines = {"avx512", refusal, convert, raise_amax, all_finite, encode, quantize, write_tile};

}  // namespace ragdot::cpu
