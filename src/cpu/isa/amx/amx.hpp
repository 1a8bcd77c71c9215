// The AMX kernel's one exported object.
#pragma once

#include "cpu/kernel.hpp"

namespace ragdot::cpu::amx {

extern const Kernel kKernel;

}  // namespace ragdot::cpu::amx
