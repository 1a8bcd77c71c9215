// The AVX2 kernel's one exported object.
#pragma once

#include "cpu/kernel.hpp"

namespace ragdot::cpu::avx2 {

extern const Kernel kKernel;

}  // namespace ragdot::cpu::avx2
