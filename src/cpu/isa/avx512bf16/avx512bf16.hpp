// The AVX512-BF16 kernel's one exported object.
#pragma once

#include "cpu/kernel.hpp"

namespace ragdot::cpu::avx512bf16 {

extern const Kernel kKernel;

}  // namespace ragdot::cpu::avx512bf16
