// What this CPU and its operating system offer to kernels.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace ragdot::cpu {

/// Instruction sets that kernels ask for, and AVX-VNNI, which is listed alone. A set counts as present only where the operating
/// system keeps its registers.
struct Features {
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512dq = false;
  bool avx512vl = false;
  bool avx512vbmi = false;
  bool avx512vnni = false;
  bool avx512bf16 = false;
  bool avxvnni = false;
  bool amx_tile = false;
  bool amx_bf16 = false;
  bool amx_int8 = false;

  /// F, BW, DQ and VL: what every CPU with useful AVX-512 has.
  [[nodiscard]] constexpr bool avx512() const { return avx512f && avx512bw && avx512dq && avx512vl; }
};

/// The features of this CPU, read once.
[[nodiscard]] const Features& features();

/// A feature's name as /proc/cpuinfo spells it.
struct NamedFeature {
  const char* name;
  bool Features::* present;
};
inline constexpr std::array<NamedFeature, 14> kFeatureNames = {{{"avx2", &Features::avx2},
                                                                {"fma", &Features::fma},
                                                                {"f16c", &Features::f16c},
                                                                {"avx512f", &Features::avx512f},
                                                                {"avx512bw", &Features::avx512bw},
                                                                {"avx512dq", &Features::avx512dq},
                                                                {"avx512vl", &Features::avx512vl},
                                                                {"avx512vbmi", &Features::avx512vbmi},
                                                                {"avx512_vnni", &Features::avx512vnni},
                                                                {"avx512_bf16", &Features::avx512bf16},
                                                                {"avx_vnni", &Features::avxvnni},
                                                                {"amx_tile", &Features::amx_tile},
                                                                {"amx_bf16", &Features::amx_bf16},
                                                                {"amx_int8", &Features::amx_int8}}};

/// The core behind AMD's family and model, which virtual machines all call "AMD EPYC"; empty for others than these. The ranges
/// are those of Linux (arch/x86/kernel/cpu/amd.c).
[[nodiscard]] std::string_view amd_core(std::uint32_t family, std::uint32_t model);

/// Whether memory is asked for into the L2 cache first, read once: on Zen 4 the L1 cache waits for few lines at a time, and
/// the products' loads wait behind them (decision 134).
[[nodiscard]] bool asks_l2_first();

/// Asks the operating system for AMX's tile registers, once for the process; true when every thread may use them.
[[nodiscard]] bool amx_granted();

}  // namespace ragdot::cpu
