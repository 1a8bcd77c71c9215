// The AVX-512 kernel's one exported object.
#pragma once

#include "cpu/kernel.hpp"

namespace ragdot::cpu::avx512 {

extern const Kernel kKernel;

}  // namespace ragdot::cpu::avx512
