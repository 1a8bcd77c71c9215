// Adds the AMX kernel over stand-in tiles to the kernels of this program: its packing, tile maps and epilogue run in every
// suite, on CPUs without AMX and under sanitizers, which cannot see what tile instructions read and write.
#include <cmath>
#include <cstdlib>

#include "cpu/isa/amx/kernel_of.hpp"
#include "cpu/isa/features.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)  // so that std::fma is one instruction
#include "testing/standin_tiles.hpp"
RAGDOT_TARGET_END

namespace ragdot::suites {
namespace {

const char* refusal() {
  return cpu::features().avx512() && cpu::features().avx512vbmi ? nullptr : "this CPU has no AVX-512 with VBMI";
}

constinit const cpu::Kernel kStandin =
    cpu::amx::kernel_of<testing::StandinTiles>("amx_standin", refusal, {&cpu::amx::kTilesOfFewRows<testing::StandinTiles>});

[[maybe_unused]] const bool kAdded = [] {
  cpu::add_kernel_for_tests(kStandin);
  return true;
}();

}  // namespace
}  // namespace ragdot::suites
