// The AMX kernel: TDPBF16PS gives the reduction order's chunk in one instruction, TDPBSSD exact sums of int8.
#include "cpu/isa/amx/amx.hpp"

#include "cpu/isa/amx/kernel_of.hpp"
#include "cpu/isa/amx/order.hpp"
#include "cpu/isa/amx/tiles.hpp"
#include "cpu/isa/avx512/few_rows.hpp"
#include "cpu/isa/features.hpp"

namespace ragdot::cpu::amx {
namespace {

const char* refusal() {
  const Features& f = features();
  if (!f.amx_tile || !f.amx_bf16 || !f.amx_int8) return "this CPU has no AMX";
  if (!f.avx512() || !f.avx512vbmi) return "this CPU has no AVX-512 with VBMI, which packing needs";
  if (!amx_granted()) return "the operating system does not grant AMX's tile registers";
  static const bool kOrderHolds = order_holds<HardwareTiles>();
  return kOrderHolds ? nullptr : "TDPBF16PS of this CPU does not add in the reduction order";
}

}  // namespace

constinit const Kernel kKernel =
    kernel_of<HardwareTiles>("amx", refusal, {&avx512::kFewPackedRows, &kTilesOfFewRows<HardwareTiles>});

}  // namespace ragdot::cpu::amx
