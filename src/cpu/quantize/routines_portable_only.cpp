// The list of a build without special instructions (RAGDOT_PORTABLE_ONLY).
#include <array>

#include "cpu/isa/quantize/tables.hpp"
#include "cpu/quantize/routines.hpp"

namespace ragdot::cpu {

std::span<const Routines* const> routines() {
  static constexpr std::array<const Routines*, 1> kOrdered = {&portable::kRoutines};
  return kOrdered;
}

}  // namespace ragdot::cpu
