// The ordered list of tables: the first that this CPU can run is taken.
#include "cpu/quantize/routines.hpp"

#include <array>

#include "cpu/isa/quantize/tables.hpp"

namespace ragdot::cpu {

std::span<const Routines* const> routines() {
  static constexpr std::array<const Routines*, 3> kOrdered = {&avx512::kRoutines, &avx2::kRoutines, &portable::kRoutines};
  return kOrdered;
}

}  // namespace ragdot::cpu
