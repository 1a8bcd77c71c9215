// Chains over panels of int16 pairs: exact sums of int8 products.
// A kernel includes this file inside its target region.
#pragma once

#include "cpu/isa/chains/panels.hpp"

namespace ragdot::cpu::pairs {
namespace {

using Panels = chains::DwordPanels<2>;

/// int32 chains; Integers and Lanes are the vectors of the instruction set.
template <class Integers, class Lanes>
struct PairChain : Integers {
  using Floats = Lanes;
  static constexpr bool kIntegers = true;
  static constexpr bool kHasRuns = false;
  struct Panels : pairs::Panels {
    static constexpr std::int64_t kVectorBytes = Integers::kLanes * sizeof(float);
  };
};

}  // namespace
}  // namespace ragdot::cpu::pairs
