// Sixteen f32 lanes, as the loops of the vector kernels use them.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <cstddef>

#include "cpu/isa/target.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

namespace ragdot::cpu::avx512 {
namespace {

struct Floats {
  using Vector = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kRegisters = 32;

  static Vector zero() { return _mm512_setzero_ps(); }
  static Vector load(const void* at) { return _mm512_loadu_ps(at); }
  static void store(float* at, Vector v) { _mm512_storeu_ps(at, v); }
  static Vector spread(const void* at) { return _mm512_set1_ps(*static_cast<const float*>(at)); }
  static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
  static Vector mul(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
  static Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
  // int32 in the bits of the lanes
  static Vector to_int(Vector v) { return _mm512_castsi512_ps(_mm512_cvtps_epi32(v)); }
  static Vector from_int(Vector v) { return _mm512_cvtepi32_ps(_mm512_castps_si512(v)); }
  static Vector add_int(Vector a, Vector b) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
  }
};

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
