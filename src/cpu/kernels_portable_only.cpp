// The list of a build without special instructions (RAGDOT_PORTABLE_ONLY).
#include <array>

#include "cpu/isa/portable/portable.hpp"
#include "cpu/kernel.hpp"

namespace ragdot::cpu {

std::span<const Kernel* const> listed_kernels() {
  static constexpr std::array<const Kernel*, 1> kOrdered = {&portable::kKernel};
  return kOrdered;
}

}  // namespace ragdot::cpu
