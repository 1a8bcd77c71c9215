// Results of other programs: held against the exact result of their call, with room for the order in which they were summed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ragdot/gmm.hpp"
#include "ragdot/tgmm.hpp"
#include "testing/compare.hpp"

namespace ragdot::testing {

/// What a kernel is allowed beside E, the bound of this library: n u / (1 - n u) of S = sum |a b s|, u = 2^-24, for the n f32
/// roundings that a product may pass on its way, and a share of S for what its arithmetic drops.
struct Allowance {
  std::int64_t roundings = -1;  // -1: as many as the sum has terms, which is room for every order
  double of_sum = 0;
};

struct Judgement {
  Comparison allowed;     // outputs beyond their allowance; `worst` is the largest error over it
  double worst_of_e = 0;  // the largest error over E
};

/// `out` holds the bytes of a result of the legal call `args`, dense, whose out held `before`. Rows are chosen as rows_to_check
/// does.
[[nodiscard]] Judgement judge(const GmmArgs& args, const std::byte* before, const std::byte* out, const Allowance& allowance);
[[nodiscard]] Judgement judge(const TgmmArgs& args, const std::byte* before, const std::byte* out, const Allowance& allowance);

}  // namespace ragdot::testing
