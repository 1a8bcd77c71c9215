// Chains over panels of f32 values: what kernels without bf16 instructions share.
// A kernel includes this file inside its target region.
#pragma once

#include "cpu/isa/chains/panels.hpp"

namespace ragdot::cpu::floats {
namespace {

/// Chains of f32 products; Floats is the vectors of the instruction set.
template <class Lanes>
struct F32Chain : Lanes {
  using Floats = Lanes;
  using Vector = typename Lanes::Vector;
  static constexpr bool kIntegers = false;
  static constexpr bool kHasRuns = true;
  struct Panels : chains::DwordPanels<1> {
    static constexpr std::int64_t kVectorBytes = Lanes::kLanes * sizeof(float);
  };

  static Vector dot(Vector sum, Vector a, Vector b) { return Lanes::fma(a, b, sum); }
  static Vector as_floats(Vector sums) { return sums; }
};

}  // namespace
}  // namespace ragdot::cpu::floats
