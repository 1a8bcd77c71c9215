// The AMX kernel: TDPBF16PS gives the reduction order's chunk in one instruction, TDPBSSD exact sums of int8.
#include "cpu/isa/amx/amx.hpp"

#include "cpu/fma.hpp"
#include "cpu/isa/amx/kernel_of.hpp"
#include "cpu/isa/amx/tiles.hpp"
#include "cpu/isa/features.hpp"
#include "cpu/isa/float_env.hpp"

namespace ragdot::cpu::amx {
namespace {

/// A pseudo-random bf16 with an exponent around 1, as a float.
std::uint32_t test_bits(std::uint32_t i) { return ((i * 2654435761U) & 0x83ff0000U) + 0x3e000000U; }

/// One product of full tiles has the bits of the reduction order: p + (e + o), each an fma chain.
bool order_holds() {
  alignas(64) std::uint32_t lhs[16][16];
  alignas(64) std::uint32_t rhs[16][16];
  alignas(64) float sums[16][16];
  const auto pair = [](std::uint32_t even, std::uint32_t odd) { return even >> 16 | (odd & 0xffff0000U); };
  for (std::uint32_t r = 0; r < 16; ++r) {
    for (std::uint32_t i = 0; i < 16; ++i) {
      lhs[r][i] = pair(test_bits(64 * r + 2 * i), test_bits(64 * r + 2 * i + 1));
      rhs[i][r] = pair(test_bits(5000 + 64 * r + 2 * i), test_bits(5001 + 64 * r + 2 * i));
      sums[r][i] = std::bit_cast<float>(test_bits(9000 + 16 * r + i));
    }
  }
  HardwareTiles::configure();
  HardwareTiles::load<0>(sums, 64);
  HardwareTiles::load<4>(lhs, 64);
  HardwareTiles::load<6>(rhs, 64);
  HardwareTiles::dot_bf16<0, 4, 6>();
  HardwareTiles::store<0>(sums, 64);
  HardwareTiles::release();
  const FloatEnv environment;
  bool same = true;
  const auto value = [](std::uint32_t i) { return std::bit_cast<float>(test_bits(i)); };
  for (std::uint32_t r = 0; r < 16; ++r) {
    for (std::uint32_t c = 0; c < 16; ++c) {
      float even = 0;
      float odd = 0;
      for (std::uint32_t i = 0; i < 16; ++i) {
        even = fma_f32(value(64 * r + 2 * i), value(5000 + 64 * c + 2 * i), even);
        odd = fma_f32(value(64 * r + 2 * i + 1), value(5001 + 64 * c + 2 * i), odd);
      }
      same = same &&
             std::bit_cast<std::uint32_t>(sums[r][c]) == std::bit_cast<std::uint32_t>(value(9000 + 16 * r + c) + (even + odd));
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

constinit const Kernel kKernel = kernel_of<HardwareTiles>("amx", refusal);

}  // namespace ragdot::cpu::amx
