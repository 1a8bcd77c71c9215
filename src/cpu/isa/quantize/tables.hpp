// The exported tables of the quantisers' inner loops, one for each instruction set.
#pragma once

#include "cpu/quantize/routines.hpp"

namespace ragdot::cpu {

namespace avx512 {
extern const Routines kRoutines;
}
namespace avx2 {
extern const Routines kRoutines;
}
namespace portable {
extern const Routines kRoutines;
}

}  // namespace ragdot::cpu
