// The AMX kernel: TDPBF16PS gives the reduction order's chunk in one instruction, TDPBSSD exact sums of int8.
#include "cpu/isa/amx/amx.hpp"

#include "cpu/isa/amx/kernel_of.hpp"
#include "cpu/isa/amx/tiles.hpp"
#include "cpu/isa/avx512/few_rows.hpp"
#include "cpu/isa/features.hpp"
#include "cpu/isa/float_env.hpp"
#include "cpu/isa/order_data.hpp"

namespace ragdot::cpu::amx {
namespace {

/// One product of full tiles has the bits of the reduction order: p + (e + o), each an fma chain.
bool order_holds() {
  alignas(64) std::uint32_t lhs[16][16];
  alignas(64) std::uint32_t rhs[16][16];
  alignas(64) float sums[16][16];
  for (std::uint32_t r = 0; r < 16; ++r) {
    for (std::uint32_t i = 0; i < 16; ++i) {
      lhs[r][i] = order_data::pair(order_data::lhs(r, 2 * i), order_data::lhs(r, 2 * i + 1));
      rhs[i][r] = order_data::pair(order_data::rhs(r, 2 * i), order_data::rhs(r, 2 * i + 1));
      sums[r][i] = std::bit_cast<float>(order_data::before(r, i));
    }
  }
  HardwareTiles::configure(kTileRows);
  HardwareTiles::load<0>(sums, 64);
  HardwareTiles::load<4>(lhs, 64);
  HardwareTiles::load<6>(rhs, 64);
  HardwareTiles::dot_bf16<0, 4, 6>();
  HardwareTiles::store<0>(sums, 64);
  HardwareTiles::release();
  const FloatEnv environment;
  bool same = true;
  for (std::uint32_t r = 0; r < 16; ++r) {
    for (std::uint32_t c = 0; c < 16; ++c) {
      same = same && std::bit_cast<std::uint32_t>(sums[r][c]) == std::bit_cast<std::uint32_t>(order_data::chunk(r, c));
    }
  }
  return same;
}

const char* refusal() {
  const Features& f = features();
  if (!f.amx_tile || !f.amx_bf16 || !f.amx_int8) return "this CPU has no AMX";
  if (!f.avx512() || !f.avx512vbmi) return "this CPU has no AVX-512 with VBMI, which packing needs";
  if (!amx_granted()) return "the operating system does not grant AMX's tile registers";
  static const bool kOrderHolds = order_holds();
  return kOrderHolds ? nullptr : "TDPBF16PS of this CPU does not add in the reduction order";
}

}  // namespace

constinit const Kernel kKernel =
    kernel_of<HardwareTiles>("amx", refusal, {&avx512::kFewPackedRows, &kTilesOfFewRows<HardwareTiles>});

}  // namespace ragdot::cpu::amx
