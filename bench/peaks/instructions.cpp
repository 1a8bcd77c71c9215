// Each loop is one block of assembly, so that no compiler can spill an accumulator into it; tests/peaks checks the object code.
#include "bench/peaks/instructions.hpp"

#include <array>

#include "bench/peaks/team.hpp"
#include "cpu/isa/features.hpp"

namespace ragdot::bench {
namespace {

using cpu::features;

/// Pairs of bf16 around 2^-10 with mixed signs and mantissas: as f32 and bf16 far from overflow, as bytes any value. Constant
/// or zero operands would draw less power than a product does, and raise the clock rate.
constexpr std::array<std::uint32_t, 512> made_operands() {
  std::array<std::uint32_t, 512> words{};
  std::uint32_t state = 12345;
  for (std::uint32_t& word : words) {
    state = state * 1664525U + 1013904223U;
    word = (state & 0x807f807fU) | 0x3a003a00U;
  }
  return words;
}
alignas(64) constexpr std::array<std::uint32_t, 512> kOperands = made_operands();

// 12 accumulators: latency 4 or 5 cycles, at most two instructions a cycle. VDPBF16PS takes 6 on Zen 5, where 12 give 0.92 of
// its rate.

__attribute__((target("avx512f"))) void fma_512(std::int64_t iterations) {
  asm volatile(
      "vmovups (%1), %%zmm14\n"
      "vmovups 64(%1), %%zmm15\n"
      ".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n vpxord %%zmm\\r, %%zmm\\r, %%zmm\\r\n .endr\n"
      ".p2align 6\n"
      "1:\n"
      ".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n vfmadd231ps %%zmm14, %%zmm15, %%zmm\\r\n .endr\n"
      "decq %0\n"
      "jnz 1b\n"
      "vzeroupper\n"
      : "+r"(iterations)
      : "r"(kOperands.data()), "m"(kOperands)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm14",
        "xmm15");
}

__attribute__((target("avx512f,avx512bf16"))) void dot_bf16(std::int64_t iterations) {
  asm volatile(
      "vmovups (%1), %%zmm14\n"
      "vmovups 64(%1), %%zmm15\n"
      ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,16,17\n vpxord %%zmm\\r, %%zmm\\r, %%zmm\\r\n .endr\n"
      ".p2align 6\n"
      "1:\n"
      ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,16,17\n vdpbf16ps %%zmm14, %%zmm15, %%zmm\\r\n .endr\n"
      "decq %0\n"
      "jnz 1b\n"
      "vzeroupper\n"
      : "+r"(iterations)
      : "r"(kOperands.data()), "m"(kOperands)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
        "xmm13", "xmm14", "xmm15", "xmm16", "xmm17");
}

__attribute__((target("avx512f,avx512vnni"))) void dot_i8(std::int64_t iterations) {
  asm volatile(
      "vmovups (%1), %%zmm14\n"
      "vmovups 64(%1), %%zmm15\n"
      ".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n vpxord %%zmm\\r, %%zmm\\r, %%zmm\\r\n .endr\n"
      ".p2align 6\n"
      "1:\n"
      ".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n vpdpbusd %%zmm14, %%zmm15, %%zmm\\r\n .endr\n"
      "decq %0\n"
      "jnz 1b\n"
      "vzeroupper\n"
      : "+r"(iterations)
      : "r"(kOperands.data()), "m"(kOperands)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm14",
        "xmm15");
}

__attribute__((target("avx2,fma"))) void fma_256(std::int64_t iterations) {
  asm volatile(
      "vmovups (%1), %%ymm14\n"
      "vmovups 32(%1), %%ymm15\n"
      ".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n vpxor %%ymm\\r, %%ymm\\r, %%ymm\\r\n .endr\n"
      ".p2align 6\n"
      "1:\n"
      ".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n vfmadd231ps %%ymm14, %%ymm15, %%ymm\\r\n .endr\n"
      "decq %0\n"
      "jnz 1b\n"
      "vzeroupper\n"
      : "+r"(iterations)
      : "r"(kOperands.data()), "m"(kOperands)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm14",
        "xmm15");
}

/// SSE has no fused instruction: as many multiplications (by one) as additions.
void multiply_add_128(std::int64_t iterations) {
  constexpr std::array<float, 4> kOnes = {1, 1, 1, 1};
  asm volatile(
      "movups (%2), %%xmm14\n"
      "movups (%1), %%xmm15\n"
      ".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n movups (%1), %%xmm\\r\n .endr\n"
      ".p2align 6\n"
      "1:\n"
      ".irp r,0,1,2,3,4,5\n mulps %%xmm14, %%xmm\\r\n .endr\n"
      ".irp r,6,7,8,9,10,11\n addps %%xmm15, %%xmm\\r\n .endr\n"
      "decq %0\n"
      "jnz 1b\n"
      : "+r"(iterations)
      : "r"(kOperands.data()), "r"(kOnes.data()), "m"(kOperands), "m"(kOnes)
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm14",
        "xmm15");
}

/// Palette 1, all eight tiles of 16 rows x 64 bytes.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::array<std::uint8_t, 14> reserved{};
  std::array<std::uint16_t, 16> column_bytes = {64, 64, 64, 64, 64, 64, 64, 64};
  std::array<std::uint8_t, 16> rows = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);
constexpr TileConfig kTiles;

// 6 accumulators of 16 cycles each cover a tile instruction's latency of 52 cycles. Without the instructions between them
// products take nearly twice as long on a busy host (docs/decisions/0114).

__attribute__((target("amx-tile,amx-bf16"))) void tile_bf16(std::int64_t iterations) {
  asm volatile(
      "ldtilecfg (%2)\n"
      "tileloadd (%1,%3), %%tmm6\n"
      "tileloadd 1024(%1,%3), %%tmm7\n"
      ".irp r,0,1,2,3,4,5\n tilezero %%tmm\\r\n .endr\n"
      ".p2align 6\n"
      "1:\n"
      ".irp r,0,1,2,3,4,5\n tdpbf16ps %%tmm7, %%tmm6, %%tmm\\r\n .rept 8\n nop\n .endr\n .endr\n"
      "decq %0\n"
      "jnz 1b\n"
      "tilerelease\n"
      : "+r"(iterations)
      : "r"(kOperands.data()), "r"(&kTiles), "r"(std::int64_t{64}), "m"(kOperands), "m"(kTiles)
      : "cc");
}

__attribute__((target("amx-tile,amx-int8"))) void tile_i8(std::int64_t iterations) {
  asm volatile(
      "ldtilecfg (%2)\n"
      "tileloadd (%1,%3), %%tmm6\n"
      "tileloadd 1024(%1,%3), %%tmm7\n"
      ".irp r,0,1,2,3,4,5\n tilezero %%tmm\\r\n .endr\n"
      ".p2align 6\n"
      "1:\n"
      ".irp r,0,1,2,3,4,5\n tdpbssd %%tmm7, %%tmm6, %%tmm\\r\n .rept 8\n nop\n .endr\n .endr\n"
      "decq %0\n"
      "jnz 1b\n"
      "tilerelease\n"
      : "+r"(iterations)
      : "r"(kOperands.data()), "r"(&kTiles), "r"(std::int64_t{64}), "m"(kOperands), "m"(kTiles)
      : "cc");
}

constexpr std::int64_t kVectors = 12;
constexpr std::int64_t kVectorsOfDots = 16;
constexpr std::int64_t kAccumulatorTiles = 6;
constexpr std::int64_t kTileOutputs = 16 * 16;

constexpr std::array<PeakLoop, 7> kLoops = {{
    {"amx_bf16", "tdpbf16ps", [] { return features().amx_bf16 && cpu::amx_granted(); },
     kAccumulatorTiles* kTileOutputs * 32 * 2, 40000, tile_bf16},
    {"amx_int8", "tdpbssd", [] { return features().amx_int8 && cpu::amx_granted(); }, kAccumulatorTiles* kTileOutputs * 64 * 2,
     40000, tile_i8},
    {"avx512_bf16", "vdpbf16ps", [] { return features().avx512bf16; }, kVectorsOfDots * 32 * 2, 300000, dot_bf16},
    {"avx512_vnni", "vpdpbusd", [] { return features().avx512vnni; }, kVectors * 64 * 2, 400000, dot_i8},
    {"fma_f32", "vfmadd231ps", [] { return features().avx512f; }, kVectors * 16 * 2, 400000, fma_512},
    {"avx2_fma_f32", "vfmadd231ps", [] { return features().avx2 && features().fma; }, kVectors * 8 * 2, 400000, fma_256},
    {"sse_f32", "mulps", [] { return true; }, kVectors * 4, 400000, multiply_add_128},
}};

}  // namespace

std::span<const PeakLoop> peak_loops() { return kLoops; }

double peak_rate(const PeakLoop& loop, int threads) {
  const double seconds = seconds_at_once(threads, [&](int) { loop.loop(loop.iterations); });
  return static_cast<double>(loop.operations) * static_cast<double>(loop.iterations) * threads / seconds;
}

}  // namespace ragdot::bench
