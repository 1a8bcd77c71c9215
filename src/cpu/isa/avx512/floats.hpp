// Sixteen lanes of f32 or int32, as the loops of the vector kernels use them.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <cstdint>

#include "cpu/isa/avx512/store.hpp"
#include "cpu/isa/target.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

namespace ragdot::cpu::avx512 {
namespace {

struct Floats {
  using Vector = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kRegisters = 32;
  static constexpr std::int64_t kBlockRows = 4;
  static constexpr bool kStores = true;
  using Out = OutRows;

  static Vector zero() { return _mm512_setzero_ps(); }
  static Vector nothing() { return _mm512_set1_ps(-0.0F); }  // what a sum is added to and keeps all its bits
  static Vector load(const void* at) { return _mm512_loadu_ps(at); }
  static void store(float* at, Vector v) { _mm512_storeu_ps(at, v); }
  static Vector spread(const void* at) { return _mm512_set1_ps(*static_cast<const float*>(at)); }
  static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
  static Vector mul(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
  static Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
  static constexpr int kSpreadByProducts = 1;  // rows of a block of three or four
  /// sum plus the product of the value at `a` and b. In assembly: compilers spread a value once that two products take.
  /// A chain with another dot() has its own.
  static Vector dot_spread(Vector sum, const void* a, Vector b) {
    asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(b), "m"(*static_cast<const float*>(a)));
    return sum;
  }

  static Out out_of(const StoreJob& job) { return rows_of_out(job); }
  static void store_all(const StoreJob& job) { avx512::store(job); }
};

/// int32 lanes; operands of dot hold int16 pairs.
struct Integers {
  using Vector = __m512i;
  static constexpr int kLanes = 16;
  static constexpr int kRegisters = 32;
  static constexpr std::int64_t kBlockRows = 6;

  static Vector zero() { return _mm512_setzero_si512(); }
  static Vector nothing() { return zero(); }
  static Vector load(const void* at) { return _mm512_loadu_si512(at); }
  static void store(void* at, Vector v) { _mm512_storeu_si512(at, v); }
  static Vector spread(const void* at) { return _mm512_set1_epi32(*static_cast<const int*>(at)); }
  static Vector add(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
  static Floats::Vector as_floats(Vector v) { return _mm512_cvtepi32_ps(v); }
  /// sum plus the two products of int16 pairs.
  static Vector dot(Vector sum, Vector a, Vector b) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)); }
};

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
