// The bound that every product of this library keeps, as a function. Kernels with other orders of summation have others, made
// from the same terms: docs/numerics.md, "Bounds of other kernels".
#pragma once

#include <cstdint>
#include <span>

#include "ragdot/gmm.hpp"
#include "ragdot/tgmm.hpp"

namespace ragdot {

/// What the bound of one output depends on.
struct BoundTerms {
  double abs_sum = 0;         // S = sum |s_lhs s_rhs| sum |a b|
  std::int64_t segments = 1;  // B: pieces of the reduction axis between f32 or bf16 scale boundaries
  std::int64_t longest_segment = 0;
  double flush_sum = 0;  // sum_j (n_j |s_j| + P_j + 1), n_j = L_j + 2 ceil(L_j / 32)
};

/// E = h u / (1 - h u) * S + 2^-125 * flush_sum, u = 2^-24, h = B + ceil(longest / 32) + 17: |computed - exact| <= E for f32
/// outputs without bias and activation, as long as no partial sum or scale product passes the largest f32. Inf where h u >= 1.
[[nodiscard]] double error_bound(const BoundTerms& terms);

/// Exact result (a plain sum in double, off by at most K 2^-33 of E) and bound E of every output of a call, before bias,
/// activation and accumulation, row-major [M, N] or [L, K, N]; rows outside local groups get 0. Slow: plain loops in double.
/// args.out counts as in a call, but its data may be null. Either span may be empty to skip it.
[[nodiscard]] Status exact_and_bound(const GmmArgs& args, std::span<double> exact, std::span<double> bound);
[[nodiscard]] Status exact_and_bound(const TgmmArgs& args, std::span<double> exact, std::span<double> bound);

}  // namespace ragdot
