// Grouped matmul: every group's rows times its own weights. Forward product and, with transposed weights, input gradient.
#pragma once

#include "ragdot/execution.hpp"
#include "ragdot/groups.hpp"
#include "ragdot/pack.hpp"
#include "ragdot/status.hpp"
#include "ragdot/view.hpp"

namespace ragdot {

struct GmmArgs {
  Operand lhs;           // [M, K]; scales on any grid, global or per_group rows
  Operand rhs;           // [L, K, N]; weights stored [L, N, K] are given as their transposed() view
  PackedRhs packed_rhs;  // instead of rhs
  Groups groups;         // G groups over the M rows
  View out;              // [M, N]; f32, bf16 or f16
  ConstView bias;        // [L, N] f32 (rows L, cols N), or absent
  Activation activation = Activation::none;
  RowsOutside rows_outside = RowsOutside::zero;
  OutMode out_mode = OutMode::overwrite;
  std::int64_t first_group = 0;               // the L matrices of rhs belong to groups [first_group, first_group + L)
  RhsLayout rhs_layout = RhsLayout::strided;  // of the values of rhs; scales are strided
};

/// out[m, :] = act(lhs[m, :] . rhs[g(m) - first_group] + bias[g(m) - first_group]) for the rows of local groups.
/// Pairs of value formats: any two of {bf16, e4m3, e5m2}; f32 with f32; i8 with i8.
/// K = 0 gives zeros (plus bias, activated). Thread-safe; allocates its workspace (make_plan avoids that).
/// The result is a function of operands and groups alone: the reduction order is in docs/numerics.md.
[[nodiscard]] Status gmm(const GmmArgs& args, const Options& options = {});

}  // namespace ragdot
