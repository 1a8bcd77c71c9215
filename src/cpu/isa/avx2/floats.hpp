// Eight lanes of f32 or int32, as the loops of the vector kernels use them.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <cstdint>

#include "cpu/isa/target.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX2)

namespace ragdot::cpu::avx2 {
namespace {

struct Floats {
  using Vector = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kRegisters = 16;
  static constexpr std::int64_t kBlockRows = 6;
  static constexpr bool kStores = false;
  struct Out {};

  static Vector zero() { return _mm256_setzero_ps(); }
  static Vector nothing() { return _mm256_set1_ps(-0.0F); }  // what a sum is added to and keeps all its bits
  static Vector load(const void* at) { return _mm256_loadu_ps(static_cast<const float*>(at)); }
  static void store(float* at, Vector v) { _mm256_storeu_ps(at, v); }
  static Vector spread(const void* at) { return _mm256_broadcast_ss(static_cast<const float*>(at)); }
  static Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
  static Vector mul(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
  static Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
};

/// int32 lanes; operands of dot hold int16 pairs.
struct Integers {
  using Vector = __m256i;
  static constexpr int kLanes = 8;
  static constexpr int kRegisters = 16;
  static constexpr std::int64_t kBlockRows = 4;  // dot needs registers of its own

  static Vector zero() { return _mm256_setzero_si256(); }
  static Vector nothing() { return zero(); }
  static Vector load(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }
  static void store(void* at, Vector v) { _mm256_storeu_si256(static_cast<__m256i*>(at), v); }
  static Vector spread(const void* at) { return _mm256_set1_epi32(*static_cast<const int*>(at)); }
  static Vector add(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
  static Floats::Vector as_floats(Vector v) { return _mm256_cvtepi32_ps(v); }
  /// sum plus the two products of int16 pairs.
  static Vector dot(Vector sum, Vector a, Vector b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
};

}  // namespace
}  // namespace ragdot::cpu::avx2

RAGDOT_TARGET_END
