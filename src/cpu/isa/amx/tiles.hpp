// The tile instructions, as the micro-kernel uses them.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ragdot::cpu::amx {
namespace {

/// All eight tiles have 16 rows of 64 bytes; those of sums and lhs may be given fewer. Operands of the instructions are
/// numbers, so each is spelled in assembly with the number as an immediate.
struct HardwareTiles {
  struct alignas(64) Config {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };

  /// Tiles 0..3 hold sums, 4 and 5 lhs, 6 and 7 rhs. What they held is gone.
  static void configure(std::uint8_t rows) {
    Config config;
    std::fill_n(config.rows, 6, rows);
    __asm__ volatile("ldtilecfg %0" ::"m"(config));
  }
  static void release() { __asm__ volatile("tilerelease"); }

  template <int kTile>
  static void zero() {
    __asm__ volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  template <int kTile>
  static void load(const void* at, std::int64_t row_bytes) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(at), "r"(row_bytes), "i"(kTile) : "memory");
  }
  /// For what is used again only when the L1 cache has long been filled with something else.
  template <int kTile>
  static void load_once(const void* at, std::int64_t row_bytes) {
    __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(at), "r"(row_bytes), "i"(kTile) : "memory");
  }
  template <int kTile>
  static void store(void* at, std::int64_t row_bytes) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(at), "r"(row_bytes), "i"(kTile) : "memory");
  }
  template <int kSum, int kLhs, int kRhs>
  static void dot_bf16() {
    space();
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kLhs), "i"(kRhs));
  }
  template <int kSum, int kLhs, int kRhs>
  static void dot_i8() {
    space();
    __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kLhs), "i"(kRhs));
  }

 private:
  /// On a busy host products that follow each other at once take nearly twice as long as with a few instructions between them
  /// (docs/decisions/0114). Elsewhere these cost nothing: a product takes 16 cycles.
  static void space() { __asm__ volatile(".rept 8\n\tnop\n\t.endr"); }
};

}  // namespace
}  // namespace ragdot::cpu::amx
