// The ordered list of CPU kernels: the first that this CPU can run is taken.
#include <array>

#include "cpu/isa/portable/portable.hpp"
#include "cpu/kernel.hpp"

namespace ragdot::cpu {

std::span<const Kernel* const> kernels() {
  static constexpr std::array<const Kernel*, 1> kOrdered = {&portable::kKernel};
  return kOrdered;
}

}  // namespace ragdot::cpu
