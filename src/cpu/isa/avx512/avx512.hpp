// The AVX-512 kernel.
#pragma once

#include "cpu/kernel.hpp"

namespace ragdot::cpu::avx512 {

extern const Kernel kKernel;

/// The same as it runs on CPUs without VBMI, and without VNNI too: for tests on those that have both.
extern const Kernel kCascadeLake;
extern const Kernel kSkylake;

}  // namespace ragdot::cpu::avx512
