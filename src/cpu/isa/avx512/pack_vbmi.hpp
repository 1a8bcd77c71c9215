// Packing for the AVX-512 kernel on CPUs with VBMI.
#pragma once

#include "cpu/kernel.hpp"

namespace ragdot::cpu::avx512 {

void pack_lhs_vbmi(const PackJob& job);
void pack_rhs_vbmi(const PackJob& job);

}  // namespace ragdot::cpu::avx512
