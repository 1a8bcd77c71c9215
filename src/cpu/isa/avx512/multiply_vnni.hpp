// Products of int8 operands for the AVX-512 kernel on CPUs with VNNI.
#pragma once

#include "cpu/kernel.hpp"

namespace ragdot::cpu::avx512 {

void multiply_i8_vnni(const MultiplyJob& job);

}  // namespace ragdot::cpu::avx512
