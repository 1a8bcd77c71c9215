// The named ways to quantise a layer: operands of the three operations as problem strings write them.
#pragma once

#include <array>
#include <string_view>

#include "testing/problem.hpp"

namespace ragdot::testing {

/// gmm and dlhs share the stored weights.
struct RecipeOperands {
  const char* recipe;
  const char* gmm;
  const char* dlhs;
  const char* tgmm;

  [[nodiscard]] constexpr const char* of(Op op) const { return op == Op::gmm ? gmm : op == Op::dlhs ? dlhs : tgmm; }
};

inline constexpr RecipeOperands kBf16 = {"bf16", "lhs=bf16 rhs=bf16", "lhs=bf16 rhs=bf16", "lhs=bf16 rhs=bf16"};
inline constexpr RecipeOperands kChannelwise = {"channelwise", "lhs=e4m3:1x* rhs=e4m3:*x1", "lhs=e4m3:1x* rhs=e4m3:1x*",
                                                "lhs=e4m3:*x1 rhs=e4m3:*x1"};
inline constexpr RecipeOperands kBlockwise = {"blockwise", "lhs=e4m3:1x128 rhs=e4m3:128x128", "lhs=e4m3:1x128 rhs=e4m3:128x128",
                                              "lhs=e4m3:128x1 rhs=e4m3:128x1"};
inline constexpr RecipeOperands kE8m0 = {"blockwise_e8m0", "lhs=e4m3:1x128 rhs=e4m3:128x128 scale=e8m0 recipe=pow2",
                                         "lhs=e4m3:1x128 rhs=e4m3:128x128 scale=e8m0 recipe=pow2",
                                         "lhs=e4m3:128x1 rhs=e4m3:128x1 scale=e8m0 recipe=pow2"};
inline constexpr RecipeOperands kMx = {"mx", "lhs=e4m3:1x32 rhs=e4m3:32x1 scale=e8m0 recipe=mx",
                                       "lhs=e4m3:1x32 rhs=e4m3:1x32 scale=e8m0 recipe=mx",
                                       "lhs=e4m3:32x1 rhs=e4m3:32x1 scale=e8m0 recipe=mx"};
inline constexpr RecipeOperands kI8 = {"i8", "lhs=i8:1x* rhs=i8:*x1", "lhs=i8:1x* rhs=i8:1x*", "lhs=i8:*x1 rhs=i8:*x1"};

inline constexpr std::array<const RecipeOperands*, 6> kAllRecipes = {&kBf16, &kChannelwise, &kBlockwise, &kE8m0, &kMx, &kI8};

}  // namespace ragdot::testing
