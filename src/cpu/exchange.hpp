// tgmm whose out has contiguous columns is computed as out^T = rhs^T lhs, whose out has contiguous rows. No bit tells which
// way: products of values and of scales commute, and both grids cut the one reduction axis.
#pragma once

#include <utility>

#include "plan/problem.hpp"

namespace ragdot::cpu {

[[nodiscard]] inline plan::Problem exchanged(plan::Problem problem) {
  std::swap(problem.lhs, problem.rhs);
  std::swap(problem.k, problem.n);
  return problem;
}

[[nodiscard]] inline Tiling exchanged(Tiling tile) {
  std::swap(tile.tm, tile.tn);
  return tile;
}

[[nodiscard]] inline TgmmArgs exchanged(TgmmArgs args) {
  std::swap(args.lhs, args.rhs);
  args.out = args.out.transposed();
  return args;
}

/// A plan's problem or tile as the loops see it.
[[nodiscard]] inline plan::Problem as_computed(const plan::Problem& problem) {
  return problem.out_by_columns ? exchanged(problem) : problem;
}
[[nodiscard]] inline Tiling as_computed(const Tiling& tile, const plan::Problem& problem) {
  return problem.out_by_columns ? exchanged(tile) : tile;
}

}  // namespace ragdot::cpu
