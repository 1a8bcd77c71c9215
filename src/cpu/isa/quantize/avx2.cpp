// The quantisers' inner loops with AVX2 and F16C: 8 f32 in a register.
#include "cpu/isa/features.hpp"
#include "cpu/isa/intrinsics.hpp"
#include "cpu/isa/quantize/tables.hpp"
#include "cpu/isa/target.hpp"
#include "cpu/quantize/recipe.hpp"
#include "format/memory.hpp"

namespace ragdot::cpu {

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX2)
namespace {

constexpr int kExponent = static_cast<int>(format::kF32Exponent);
constexpr int kNan = static_cast<int>(format::kF32Nan);
constexpr int kHighWord = static_cast<int>(0xffff0000);
constexpr short kWithoutBit14 = static_cast<short>(0xbfff);
constexpr std::int64_t kLanes = 8;
using Floats = __m256;
using Ints = __m256i;
using Mask = __m256i;  // all bits of a lane

Floats load_floats(const void* p) { return _mm256_loadu_ps(static_cast<const float*>(p)); }
Ints load_ints(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
void store_ints(void* p, Ints x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
Ints load_words(const void* p) { return _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))); }

/// The low words of 8 lanes.
__m128i words(Ints x) {
  const __m256i low = x & _mm256_set1_epi32(0xffff);
  return _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
}
void store_words(void* p, Ints x) { _mm_storeu_si128(static_cast<__m128i*>(p), words(x)); }
void store_bytes(void* p, Ints x) {
  const __m128i low = words(x);
  _mm_storel_epi64(static_cast<__m128i*>(p), _mm_packus_epi16(low, low));
}

Floats spread(float x) { return _mm256_set1_ps(x); }
Ints ints(int x) { return _mm256_set1_epi32(x); }
Ints bits(Floats x) { return _mm256_castps_si256(x); }
Floats floats(Ints x) { return _mm256_castsi256_ps(x); }

Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
Ints to_nearest(Floats x) { return _mm256_cvtps_epi32(x); }

Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
template <int kBits>
Ints shift_left(Ints x) {
  return _mm256_slli_epi32(x, kBits);
}
template <int kBits>
Ints shift_right(Ints x) {
  return _mm256_srli_epi32(x, kBits);
}

Mask less(Ints a, Ints b) { return _mm256_cmpgt_epi32(b, a); }
Mask is_nan(Floats x) { return bits(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)); }
Mask any_nan(Floats a, Floats b, Floats c, Floats d) {
  return bits(_mm256_or_ps(_mm256_cmp_ps(a, b, _CMP_UNORD_Q), _mm256_cmp_ps(c, d, _CMP_UNORD_Q)));
}
bool none(Mask m) { return _mm256_testz_si256(m, m) != 0; }
Ints select(Mask m, Ints yes, Ints no) { return _mm256_blendv_epi8(no, yes, m); }

Ints magnitude_bits(Floats x) { return bits(x) & ints(0x7fffffff); }
Mask not_finite(Floats x) { return less(ints(kExponent - 1), magnitude_bits(x)); }

/// The larger of most and the bits of |x|, most where x is NaN or Inf.
Ints raise(Ints most, Floats x) {
  const Ints magnitude = magnitude_bits(x);
  const Mask finite = less(magnitude, ints(kExponent));
  return _mm256_max_epi32(most, magnitude & finite);
}
/// The same for bf16 in words.
Ints raise_words(Ints most, Ints x) {
  const Ints magnitude = x & _mm256_set1_epi16(0x7fff);
  const Ints finite = _mm256_cmpgt_epi16(_mm256_set1_epi16(kExponent >> 16), magnitude);
  return _mm256_max_epi16(most, magnitude & finite);
}
std::uint32_t largest(Ints x) {
  __m128i most = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0b01'00'11'10));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0b10'11'00'01));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(most));
}

/// The largest words among them.
__m128i eight_largest_words(Ints x) { return _mm_max_epi16(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1)); }

/// min(|x|, limit), limit where x is NaN.
Floats magnitude_up_to(Floats x, float limit) {
  if (fault::on(fault::Id::avx2_quantiser_unsaturated)) return floats(magnitude_bits(x));
  return _mm256_min_ps(floats(magnitude_bits(x)), spread(limit));
}

/// The bits of yes where mask has ones, else those of no.
Ints select_bits(Ints mask, Ints yes, Ints no) { return (mask & yes) | _mm256_andnot_si256(mask, no); }

Floats load_f16(const std::byte* p) {
  const Floats x = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return floats(select(is_nan(x), ints(kNan), bits(x)));
}
void store_f16(std::byte* p, Ints x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(floats(x), _MM_FROUND_TO_NEAREST_INT));
}

/// FP8 as f16: e5m2 is the upper half of one; e4m3 has one exponent bit less and another bias, which makes it 2^8 times
/// smaller.
Floats load_e4m3(const std::byte* p) {
  const __m128i codes = _mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  const __m128i halves = _mm_and_si128(_mm_slli_epi16(codes, 7), _mm_set1_epi16(kWithoutBit14));
  const Floats values = multiply(_mm256_cvtph_ps(halves), spread(0x1p8F));
  const Mask nan = less(bits(spread(448.0F)), magnitude_bits(values));
  return floats(select(nan, ints(kNan), bits(values)));
}
Floats load_e5m2(const std::byte* p) {
  const __m128i codes = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  const Floats values = _mm256_cvtph_ps(_mm_slli_epi16(codes, 8));
  return floats(select(is_nan(values), ints(kNan), bits(values)));
}
Floats load_i8(const std::byte* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

/// The low bytes of four vectors, one behind the other.
void store_bytes(void* p, Ints a, Ints b, Ints c, Ints d) {
  // Packing works within 16-byte parts, so that every part holds four bytes of each vector.
  const Ints parts = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
  store_ints(p, _mm256_permutevar8x32_epi32(parts, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
}

/// The low bytes of a and b by turns, in the low words.
Ints zipped_bytes(Ints a, Ints b) { return (a & ints(0xff)) | (shift_left<8>(b) & ints(0xff00)); }
/// The same, and behind them those of c and d.
Ints zipped_bytes(Ints a, Ints b, Ints c, Ints d) {
  const Ints parts = _mm256_packus_epi32(zipped_bytes(a, b), zipped_bytes(c, d));
  return _mm256_permute4x64_epi64(parts, 0b11'01'10'00);
}
/// The high bytes of words, and behind them those of `late`.
Ints high_bytes(Ints words, Ints late) {
  const Ints parts = _mm256_packus_epi16(_mm256_srli_epi16(words, 8), _mm256_srli_epi16(late, 8));
  return _mm256_permute4x64_epi64(parts, 0b11'01'10'00);
}
/// Of two vectors, one behind the other.
Floats even_lanes(Floats a, Floats b) {
  const __m256d parts = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0b10'00'10'00));
  return _mm256_castpd_ps(_mm256_permute4x64_pd(parts, 0b11'01'10'00));
}
Floats odd_lanes(Floats a, Floats b) {
  const __m256d parts = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0b11'01'11'01));
  return _mm256_castpd_ps(_mm256_permute4x64_pd(parts, 0b11'01'10'00));
}

/// 16 bytes from each of p and p + step.
Ints load_parts(const std::byte* p, std::int64_t step) {
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + step)), 1);
}
/// A register is half a cache line, and memory takes streamed halves one by one: they go through the caches.
void stream_ints(void* p, Ints x) { store_ints(p, x); }
Ints interleave_low(Ints a, Ints b) { return _mm256_unpacklo_epi8(a, b); }
Ints interleave_high(Ints a, Ints b) { return _mm256_unpackhi_epi8(a, b); }

#include "cpu/isa/quantize/rows.hpp"

}  // namespace
RAGDOT_TARGET_END

namespace {

const char* refusal() {
  return features().avx2 && features().fma && features().f16c ? nullptr : "this CPU has no AVX2 with FMA and F16C";
}

}  // namespace

constinit const Routines avx2::kRoutines = {"avx2", refusal, convert, raise_amax, all_finite, encode, quantize, write_tile};

}  // namespace ragdot::cpu
