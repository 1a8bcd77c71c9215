// Packed weights: blocks of 32 columns, each [rows][32] without gaps, so that they stream in from memory in one run.
#pragma once

#include "plan/backend.hpp"

namespace ragdot::cpu {

/// Copies rhs [L, K, N], any strides, for the kernel and on the threads of `choice`. Columns are filled up to whole blocks with
/// zeros.
[[nodiscard]] std::shared_ptr<const PackedRhs::Contents> packed_weights(const Operand& rhs, const Plan::Choice& choice);

/// The values of weights that are not empty, to memory for whole blocks, on the threads of the choice.
void pack_values(const ConstView& rhs, const Plan::Choice& choice, std::byte* to);

}  // namespace ragdot::cpu
