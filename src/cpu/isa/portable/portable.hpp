// The portable kernel's one exported object.
#pragma once

#include "cpu/kernel.hpp"

namespace ragdot::cpu::portable {

extern const Kernel kKernel;

}  // namespace ragdot::cpu::portable
