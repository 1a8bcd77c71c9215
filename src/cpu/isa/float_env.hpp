// The floating-point environment of all products: round to nearest even, subnormals zero on both ends, no traps.
#pragma once

#include <xmmintrin.h>

namespace ragdot::cpu {

/// Sets the whole MXCSR while it lives, so the caller's rounding mode and exception masks change nothing, and restores it.
class FloatEnv {
 public:
  FloatEnv() : saved_(_mm_getcsr()) { _mm_setcsr(kFlushNearestMasked); }
  ~FloatEnv() { _mm_setcsr(saved_); }
  FloatEnv(const FloatEnv&) = delete;
  FloatEnv& operator=(const FloatEnv&) = delete;

 private:
  static constexpr unsigned kFlushNearestMasked = 0x9FC0;
  unsigned saved_;
};

}  // namespace ragdot::cpu
