// The warpgroup matrix product (wgmma): descriptors of operands in shared memory, and the shapes that the kernels use.
// d[64 x n] (+)= a[64 x 32 bytes] . b[n x 32 bytes]^T; d lies in registers: element (row, col) of warp w's 16 rows in lane
// row % 8 * 4 + col % 8 / 2, register col / 8 * 4 + row / 8 * 2 + col % 2.
#pragma once

#include <cstdint>

#include "ragdot/types.hpp"

namespace ragdot::cuda::wgmma {

/// Rows of 128 bytes, swizzled by 128 bytes in groups of eight (1024 bytes). Lines along the reduction: `stride` is 1024, from
/// one group of eight lines to the next, and `leading` is not read. Lines across the reduction: `stride` is 1024, from eight
/// steps of the reduction to the next eight; `leading` leads from 64 elements to the next 64.
__device__ __forceinline__ std::uint64_t descriptor(std::uint32_t address, std::uint32_t leading, std::uint32_t stride) {
  return static_cast<std::uint64_t>((address & 0x3ffffU) >> 4) | static_cast<std::uint64_t>((leading & 0x3ffffU) >> 4) << 16 |
         static_cast<std::uint64_t>((stride & 0x3ffffU) >> 4) << 32 | std::uint64_t{1} << 62;
}

__device__ __forceinline__ void begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/// Waits until at most kPending committed groups are unfinished.
template <int kPending>
__device__ __forceinline__ void wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

/// Keeps the compiler from moving uses of the registers over this point.
template <int kCount>
__device__ __forceinline__ void hold(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// Operand lists of the assembly below: registers %0 to %63 or %127, and the variables bound to them.
#define RAGDOT_R8(a, b, c, d, e, f, g, h) "%" #a ", %" #b ", %" #c ", %" #d ", %" #e ", %" #f ", %" #g ", %" #h
#define RAGDOT_R64                                                                                                            \
  RAGDOT_R8(0, 1, 2, 3, 4, 5, 6, 7)                                                                                           \
  ", " RAGDOT_R8(8, 9, 10, 11, 12, 13, 14, 15) ", " RAGDOT_R8(16, 17, 18, 19, 20, 21, 22, 23) ", " RAGDOT_R8(                 \
      24, 25, 26, 27, 28, 29, 30, 31) ", " RAGDOT_R8(32, 33, 34, 35, 36, 37, 38,                                              \
                                                     39) ", " RAGDOT_R8(40, 41, 42, 43, 44, 45, 46,                           \
                                                                        47) ", " RAGDOT_R8(48, 49, 50, 51, 52, 53, 54,        \
                                                                                           55) ", " RAGDOT_R8(56, 57, 58, 59, \
                                                                                                              60, 61, 62, 63)
#define RAGDOT_UPPER_R64                                                                                        \
  RAGDOT_R8(64, 65, 66, 67, 68, 69, 70, 71)                                                                     \
  ", " RAGDOT_R8(72, 73, 74, 75, 76, 77, 78, 79) ", " RAGDOT_R8(80, 81, 82, 83, 84, 85, 86, 87) ", " RAGDOT_R8( \
      88, 89, 90, 91, 92, 93, 94,                                                                               \
      95) ", " RAGDOT_R8(96, 97, 98, 99, 100, 101, 102,                                                         \
                         103) ", " RAGDOT_R8(104, 105, 106, 107, 108, 109, 110,                                 \
                                             111) ", " RAGDOT_R8(112, 113, 114, 115, 116, 117, 118,             \
                                                                 119) ", " RAGDOT_R8(120, 121, 122, 123, 124, 125, 126, 127)
#define RAGDOT_R128 RAGDOT_R64 ", " RAGDOT_UPPER_R64
#define RAGDOT_D8(i) \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define RAGDOT_D32(i) RAGDOT_D8(i), RAGDOT_D8(i + 8), RAGDOT_D8(i + 16), RAGDOT_D8(i + 24)
#define RAGDOT_D64 RAGDOT_D32(0), RAGDOT_D32(32)
#define RAGDOT_D128 RAGDOT_D64, RAGDOT_D32(64), RAGDOT_D32(96)

// `add` false overwrites d.
#define RAGDOT_PRODUCT_8_BIT(types)                                                                       \
  asm volatile(                                                                                           \
      "{\n\t.reg .pred add;\n\tsetp.ne.b32 add, %66, 0;\n\t"                                              \
      "wgmma.mma_async.sync.aligned.m64n128k32.f32." types " {" RAGDOT_R64 "}, %64, %65, add, 1, 1;\n\t}" \
      : RAGDOT_D64                                                                                        \
      : "l"(a), "l"(b), "r"(static_cast<std::int32_t>(add)))

template <Format kA, Format kB>
__device__ __forceinline__ void product(float (&d)[64], std::uint64_t a, std::uint64_t b, bool add) {
  if constexpr (kA == Format::e4m3 && kB == Format::e4m3) {
    RAGDOT_PRODUCT_8_BIT("e4m3.e4m3");
  } else if constexpr (kA == Format::e4m3) {
    RAGDOT_PRODUCT_8_BIT("e4m3.e5m2");
  } else if constexpr (kB == Format::e4m3) {
    RAGDOT_PRODUCT_8_BIT("e5m2.e4m3");
  } else {
    RAGDOT_PRODUCT_8_BIT("e5m2.e5m2");
  }
}

/// bf16; an operand whose lines lie across the reduction is given as such.
template <bool kAcrossA, bool kAcrossB>
__device__ __forceinline__ void product_bf16(float (&d)[128], std::uint64_t a, std::uint64_t b, bool add) {
  asm volatile(
      "{\n\t.reg .pred add;\n\tsetp.ne.b32 add, %130, 0;\n\t"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" RAGDOT_R128 "}, %128, %129, add, 1, 1, %131, %132;\n\t}"
      : RAGDOT_D128
      : "l"(a), "l"(b), "r"(static_cast<std::int32_t>(add)), "n"(kAcrossA ? 1 : 0), "n"(kAcrossB ? 1 : 0));
}

#undef RAGDOT_PRODUCT_8_BIT
#undef RAGDOT_D128
#undef RAGDOT_D64
#undef RAGDOT_D32
#undef RAGDOT_D8
#undef RAGDOT_R128
#undef RAGDOT_UPPER_R64
#undef RAGDOT_R64
#undef RAGDOT_R8

}  // namespace ragdot::cuda::wgmma
