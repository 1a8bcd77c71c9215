// Vectors of 16 dwords: their halves as f32, and exchanges of lanes between vectors.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <cstddef>

#include "cpu/isa/target.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

namespace ragdot::cpu::avx512 {
namespace {

/// The f32 values of the bf16 values in the lower, and in the upper halves of dwords.
inline __m512 lower_halves(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
inline __m512 upper_halves(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000U))));
}

/// Lane v of vector l for lane l of vector v: four dwords each.
[[gnu::always_inline]] inline void exchange_lanes(__m512i& v0, __m512i& v1, __m512i& v2, __m512i& v3) {
  const __m512i low01 = _mm512_shuffle_i32x4(v0, v1, 0x44);
  const __m512i high01 = _mm512_shuffle_i32x4(v0, v1, 0xee);
  const __m512i low23 = _mm512_shuffle_i32x4(v2, v3, 0x44);
  const __m512i high23 = _mm512_shuffle_i32x4(v2, v3, 0xee);
  v0 = _mm512_shuffle_i32x4(low01, low23, 0x88);
  v1 = _mm512_shuffle_i32x4(low01, low23, 0xdd);
  v2 = _mm512_shuffle_i32x4(high01, high23, 0x88);
  v3 = _mm512_shuffle_i32x4(high01, high23, 0xdd);
}

/// In each lane dword v of vector i for dword i of vector v.
[[gnu::always_inline]] inline void transpose_lanes(__m512i* rows) {
  const __m512i low01 = _mm512_unpacklo_epi32(rows[0], rows[1]);
  const __m512i high01 = _mm512_unpackhi_epi32(rows[0], rows[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(rows[2], rows[3]);
  const __m512i high23 = _mm512_unpackhi_epi32(rows[2], rows[3]);
  rows[0] = _mm512_unpacklo_epi64(low01, low23);
  rows[1] = _mm512_unpackhi_epi64(low01, low23);
  rows[2] = _mm512_unpacklo_epi64(high01, high23);
  rows[3] = _mm512_unpackhi_epi64(high01, high23);
}

/// Dword v of vector i for dword i of vector v.
[[gnu::always_inline]] inline void transpose(__m512i (&rows)[16]) {
  for (std::size_t i = 0; i < 16; i += 4) transpose_lanes(rows + i);
  // rows[4q + c] holds, in lane l, column 4l + c of rows 4q .. 4q + 3.
  for (std::size_t c = 0; c < 4; ++c) exchange_lanes(rows[c], rows[4 + c], rows[8 + c], rows[12 + c]);
}

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
