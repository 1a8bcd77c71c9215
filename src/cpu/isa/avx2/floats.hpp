// Eight f32 lanes, as the loops of the vector kernels use them.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include "cpu/isa/target.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX2)

namespace ragdot::cpu::avx2 {
namespace {

struct Floats {
  using Vector = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kRegisters = 16;

  static Vector zero() { return _mm256_setzero_ps(); }
  static Vector load(const void* at) { return _mm256_loadu_ps(static_cast<const float*>(at)); }
  static void store(float* at, Vector v) { _mm256_storeu_ps(at, v); }
  static Vector spread(const void* at) { return _mm256_broadcast_ss(static_cast<const float*>(at)); }
  static Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
  static Vector mul(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
  static Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
  // int32 in the bits of the lanes
  static Vector to_int(Vector v) { return _mm256_castsi256_ps(_mm256_cvtps_epi32(v)); }
  static Vector from_int(Vector v) { return _mm256_cvtepi32_ps(_mm256_castps_si256(v)); }
  static Vector add_int(Vector a, Vector b) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
  }
};

}  // namespace
}  // namespace ragdot::cpu::avx2

RAGDOT_TARGET_END
