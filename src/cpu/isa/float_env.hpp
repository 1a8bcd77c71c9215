// The floating-point environment of the library's work, whatever the caller's is.
#pragma once

#include <xmmintrin.h>

namespace ragdot::cpu {

/// Sets the whole MXCSR while it lives, so the caller's rounding mode and exception masks change nothing, and restores it.
class FloatEnv {
 public:
  /// Products: round to nearest even, subnormals zero on both ends, no traps.
  static constexpr unsigned kProducts = 0x9FC0;
  /// A thread's first: round to nearest even, subnormals kept, no traps.
  static constexpr unsigned kPlain = 0x1F80;
  static constexpr unsigned kQuantisers = kPlain;

  explicit FloatEnv(unsigned mxcsr = kProducts) : saved_(_mm_getcsr()) { _mm_setcsr(mxcsr); }
  ~FloatEnv() { _mm_setcsr(saved_); }
  FloatEnv(const FloatEnv&) = delete;
  FloatEnv& operator=(const FloatEnv&) = delete;

 private:
  unsigned saved_;
};

}  // namespace ragdot::cpu
