// Few rows times packed weights: weights are read once, in the order of memory, and never written to a panel.
#pragma once

#include "cpu/kernel.hpp"

namespace ragdot::cpu::avx512 {

/// Chains of f32 fma, for every kernel on CPUs with VBMI.
extern const FewRows kFewPackedRows;

}  // namespace ragdot::cpu::avx512
