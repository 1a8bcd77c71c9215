// Transposed grouped matmul: the weight gradient of a grouped matmul.
#pragma once

#include "ragdot/execution.hpp"
#include "ragdot/groups.hpp"
#include "ragdot/status.hpp"
#include "ragdot/view.hpp"

namespace ragdot {

struct TgmmArgs {
  Operand lhs;    // [M, K]; rows are the reduction axis; row- or column-major
  Operand rhs;    // [M, N]; the same
  Groups groups;  // G groups over the M rows
  View out;       // [L, K, N]; f32, bf16 or f16
  OutMode out_mode = OutMode::overwrite;
  std::int64_t first_group = 0;  // out's L matrices belong to groups [first_group, first_group + L)
};

/// out[g - first_group] = sum over rows m of g of lhs[m, :]^T rhs[m, :].
/// An empty group's slab is exactly zero (left alone with accumulate). Rows outside a group are never read for it.
/// Pairs of value formats as for gmm. Thread-safe; allocates its workspace (make_plan avoids that).
[[nodiscard]] Status tgmm(const TgmmArgs& args, const Options& options = {});

}  // namespace ragdot
