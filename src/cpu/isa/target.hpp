// Target regions: code between RAGDOT_TARGET_BEGIN(...) and RAGDOT_TARGET_END may use the instructions of a CPU that the rest
// of the build does not assume. A file built with -m flags instead would leak its copies of shared inline functions into
// baseline code, so inside a region everything lives in an unnamed namespace, and every include stands before it.
#pragma once

#define RAGDOT_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define RAGDOT_TARGET_BEGIN(features) \
  RAGDOT_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define RAGDOT_TARGET_END RAGDOT_PRAGMA(clang attribute pop)
#else
#define RAGDOT_TARGET_BEGIN(features) RAGDOT_PRAGMA(GCC push_options) RAGDOT_PRAGMA(GCC target(features))
#define RAGDOT_TARGET_END RAGDOT_PRAGMA(GCC pop_options)
#endif

#define RAGDOT_TARGET_AVX2 "avx2,fma,f16c"
#define RAGDOT_TARGET_AVX512 "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"
#define RAGDOT_TARGET_AVX512VBMI RAGDOT_TARGET_AVX512 ",avx512vbmi"
#define RAGDOT_TARGET_AVX512VNNI RAGDOT_TARGET_AVX512 ",avx512vnni"
#define RAGDOT_TARGET_AVX512QUADS RAGDOT_TARGET_AVX512VBMI ",avx512vnni"
#define RAGDOT_TARGET_AVX512BF16 RAGDOT_TARGET_AVX512VBMI ",avx512bf16"
