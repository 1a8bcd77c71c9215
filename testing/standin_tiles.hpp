// Tile instructions in plain C++: bit by bit what AMX computes, so that the AMX kernel runs in tests on any CPU with AVX-512.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

// What works on registers alone reads and writes nothing that a sanitizer could object to, and is most of what these tiles do.
#ifdef __clang__
#define RAGDOT_REGISTERS_ALONE [[clang::no_sanitize("address", "undefined", "thread", "coverage")]]
#else
#define RAGDOT_REGISTERS_ALONE [[gnu::no_sanitize("address", "undefined", "thread")]]
#endif

namespace ragdot::testing {

/// TDPBF16PS adds e + o to a sum, e and o being fma chains over the low and the high halves of 16 dwords; subnormals are zero
/// (the caller's MXCSR says so, as for the kernels). TDPBSSD adds 64 exact products.
struct StandinTiles {
  struct alignas(64) Tile {
    std::byte rows[16][64];
  };
  struct Registers {
    Tile tiles[8];
    int rows = 0;  // of tiles 0..5 (sums and lhs); 0: not configured
  };
  static Registers& registers() {
    thread_local Registers r;
    return r;
  }

  static void configure(int rows) {
    registers() = {};
    registers().rows = rows;
  }
  static void release() { registers().rows = 0; }

  /// An instruction without a configuration faults on hardware.
  static Tile& tile(int number) {
    if (registers().rows == 0) std::abort();
    return registers().tiles[number];
  }

  static int rows_of(int number) { return number < 6 ? registers().rows : 16; }

  template <int kTile>
  static void zero() {
    std::memset(&tile(kTile), 0, sizeof(Tile));
  }
  template <int kTile>
  static void load(const void* at, std::int64_t row_bytes) {
    for (int r = 0; r < rows_of(kTile); ++r)
      std::memcpy(tile(kTile).rows[r], static_cast<const std::byte*>(at) + r * row_bytes, 64);
  }
  template <int kTile>
  static void load_once(const void* at, std::int64_t row_bytes) {
    load<kTile>(at, row_bytes);
  }
  template <int kTile>
  static void store(void* at, std::int64_t row_bytes) {
    for (int r = 0; r < rows_of(kTile); ++r) std::memcpy(static_cast<std::byte*>(at) + r * row_bytes, tile(kTile).rows[r], 64);
  }

  template <int kSum, int kLhs, int kRhs>
  static void dot_bf16() {
    add_dots(tile(kSum), rows_of(kSum), floats(tile(kLhs)), floats(tile(kRhs)));
  }

  template <int kSum, int kLhs, int kRhs>
  static void dot_i8() {
    add_dots_of_bytes(tile(kSum), rows_of(kSum), tile(kLhs), tile(kRhs));
  }

 private:
  /// The low and the high bf16 of each dword.
  struct Floats {
    float even[16][16];
    float odd[16][16];
  };

  RAGDOT_REGISTERS_ALONE static Floats floats(const Tile& tile) {
    Floats f;
    __builtin_memcpy(f.odd, tile.rows, sizeof f.odd);
    for (int r = 0; r < 16; ++r) {
      for (int c = 0; c < 16; ++c) {
        std::uint32_t bits = 0;
        __builtin_memcpy(&bits, &f.odd[r][c], 4);
        const std::uint32_t low = bits << 16;
        const std::uint32_t high = bits & 0xffff0000U;
        __builtin_memcpy(&f.even[r][c], &low, 4);
        __builtin_memcpy(&f.odd[r][c], &high, 4);
      }
    }
    return f;
  }

  RAGDOT_REGISTERS_ALONE static void add_dots(Tile& sums, int rows, const Floats& a, const Floats& b) {
    for (int r = 0; r < rows; ++r) {
      float even[16] = {};
      float odd[16] = {};
      for (int i = 0; i < 16; ++i) {
        for (int c = 0; c < 16; ++c) even[c] = __builtin_fmaf(a.even[r][i], b.even[i][c], even[c]);
        for (int c = 0; c < 16; ++c) odd[c] = __builtin_fmaf(a.odd[r][i], b.odd[i][c], odd[c]);
      }
      float sum[16];
      __builtin_memcpy(sum, sums.rows[r], sizeof sum);
      for (int c = 0; c < 16; ++c) sum[c] = sum[c] + (even[c] + odd[c]);
      __builtin_memcpy(sums.rows[r], sum, sizeof sum);
    }
  }

  RAGDOT_REGISTERS_ALONE static void add_dots_of_bytes(Tile& sums, int rows, const Tile& a, const Tile& b) {
    for (int r = 0; r < rows; ++r) {
      std::int32_t sum[16];
      __builtin_memcpy(sum, sums.rows[r], sizeof sum);
      for (int i = 0; i < 64; ++i) {
        const auto factor = static_cast<std::int8_t>(a.rows[r][i]);
        for (int c = 0; c < 16; ++c) sum[c] += factor * static_cast<std::int8_t>(b.rows[i / 4][4 * c + i % 4]);
      }
      __builtin_memcpy(sums.rows[r], sum, sizeof sum);
    }
  }
};

}  // namespace ragdot::testing
