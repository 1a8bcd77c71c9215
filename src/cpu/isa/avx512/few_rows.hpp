// Few rows times packed weights: weights are read once, in the order of memory, and never written to a panel.
#pragma once

#include "cpu/kernel.hpp"

namespace ragdot::cpu::avx512 {

/// Chains of f32 fma, for every kernel on CPUs with VBMI.
extern const FewRows kFewPackedRows;

/// Whether segments end with chunks, counted from the reduction axis' begin.
bool segments_end_with_chunks(const Item& item);

/// The same, and whether e8m0 scales, where an item's weights have them, can be folded into the tables that
/// decode codes: a chunk of `cols` columns from any multiple of them on has one, and none leaves bf16's range.
bool decodes_by_table(const Item& item, std::int64_t cols);

}  // namespace ragdot::cpu::avx512
