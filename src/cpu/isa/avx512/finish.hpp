// Sums to rows of out behind a bias, an activation or accumulation.
#pragma once

#include "cpu/kernel.hpp"

namespace ragdot::cpu::avx512 {

void finish(const FinishJob& job);

}  // namespace ragdot::cpu::avx512
