// Reads CPUID and XCR0, and asks Linux for the tile registers.
#include "cpu/isa/features.hpp"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>

namespace ragdot::cpu {
namespace {

struct Leaf {
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint32_t ecx = 0;
  std::uint32_t edx = 0;
};

Leaf leaf(std::uint32_t number, std::uint32_t sub) {
  Leaf l;
  __get_cpuid_count(number, sub, &l.eax, &l.ebx, &l.ecx, &l.edx);  // zeros where the CPU has no such leaf
  return l;
}

constexpr bool bit(std::uint32_t word, int index) { return (word >> index & 1U) != 0; }

/// Register states that the operating system saves and restores.
std::uint64_t saved_states() {
  if (!bit(leaf(1, 0).ecx, 27)) return 0;  // no OSXSAVE: XGETBV would fault
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<std::uint64_t>(high) << 32 | low;
}

Features read() {
  constexpr std::uint64_t kYmm = 0x6;        // SSE and AVX state
  constexpr std::uint64_t kZmm = 0xe6;       // with opmasks and the upper halves
  constexpr std::uint64_t kTiles = 0x60000;  // TILECFG and TILEDATA
  const std::uint64_t saved = saved_states();
  const bool ymm = (saved & kYmm) == kYmm;
  const bool zmm = (saved & kZmm) == kZmm;
  const bool tiles = (saved & kTiles) == kTiles;
  const Leaf one = leaf(1, 0);
  const Leaf seven = leaf(7, 0);
  const Leaf seven1 = leaf(7, 1);
  Features f;
  f.fma = ymm && bit(one.ecx, 12);
  f.f16c = ymm && bit(one.ecx, 29);
  f.avx2 = ymm && bit(seven.ebx, 5);
  f.avxvnni = ymm && bit(seven1.eax, 4);
  f.avx512f = zmm && bit(seven.ebx, 16);
  f.avx512dq = zmm && bit(seven.ebx, 17);
  f.avx512bw = zmm && bit(seven.ebx, 30);
  f.avx512vl = zmm && bit(seven.ebx, 31);
  f.avx512vbmi = zmm && bit(seven.ecx, 1);
  f.avx512vnni = zmm && bit(seven.ecx, 11);
  f.avx512bf16 = zmm && bit(seven1.eax, 5);
  f.amx_bf16 = tiles && bit(seven.edx, 22);
  f.amx_tile = tiles && bit(seven.edx, 24);
  f.amx_int8 = tiles && bit(seven.edx, 25);
  return f;
}

bool is_amd() {
  const Leaf vendor = leaf(0, 0);
  return vendor.ebx == 0x68747541 && vendor.edx == 0x69746e65 && vendor.ecx == 0x444d4163;  // AuthenticAMD
}

}  // namespace

const Features& features() {
  static const Features kRead = read();
  return kRead;
}

std::string_view amd_core(std::uint32_t family, std::uint32_t model) {
  const auto within = [model](std::uint32_t first, std::uint32_t last) { return model >= first && model <= last; };
  if (family == 0x19 && (within(0x00, 0x0f) || within(0x20, 0x5f))) return "Zen 3";
  if (family == 0x19 && (within(0x10, 0x1f) || within(0x60, 0xaf))) return "Zen 4";
  if (family == 0x1a && (within(0x00, 0x2f) || within(0x40, 0x4f) || within(0x60, 0x7f))) return "Zen 5";
  return "";
}

bool asks_l2_first() {
  static const bool kZen4 = [] {
    const std::uint32_t version = leaf(1, 0).eax;  // of AMD's, whose base family is 15
    const std::uint32_t family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
    return is_amd() && amd_core(family, (version >> 4 & 0xf) | (version >> 12 & 0xf0)) == "Zen 4";
  }();
  return kZen4;
}

bool amx_granted() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  static const bool kGranted = features().amx_tile && syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return kGranted;
}

}  // namespace ragdot::cpu
