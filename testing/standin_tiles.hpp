// Tile instructions in plain C++: bit by bit what AMX computes, so that the AMX kernel runs in tests on any CPU with AVX-512.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

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
  static void store(void* at, std::int64_t row_bytes) {
    for (int r = 0; r < rows_of(kTile); ++r) std::memcpy(static_cast<std::byte*>(at) + r * row_bytes, tile(kTile).rows[r], 64);
  }

  template <int kSum, int kLhs, int kRhs>
  static void dot_bf16() {
    for (int r = 0; r < rows_of(kSum); ++r) {
      float even[16] = {};
      float odd[16] = {};
      for (int i = 0; i < 16; ++i) {
        const std::uint32_t a = dword(tile(kLhs), r, i);
        for (int c = 0; c < 16; ++c) {
          const std::uint32_t b = dword(tile(kRhs), i, c);
          even[c] = std::fma(value(a << 16), value(b << 16), even[c]);
          odd[c] = std::fma(value(a & kHigh), value(b & kHigh), odd[c]);
        }
      }
      for (int c = 0; c < 16; ++c) {
        float sum = 0;
        std::memcpy(&sum, &tile(kSum).rows[r][4 * c], 4);
        sum = sum + (even[c] + odd[c]);
        std::memcpy(&tile(kSum).rows[r][4 * c], &sum, 4);
      }
    }
  }

  template <int kSum, int kLhs, int kRhs>
  static void dot_i8() {
    for (int r = 0; r < rows_of(kSum); ++r) {
      for (int c = 0; c < 16; ++c) {
        std::int32_t sum = 0;
        std::memcpy(&sum, &tile(kSum).rows[r][4 * c], 4);
        for (int i = 0; i < 64; ++i) sum += byte(tile(kLhs).rows[r][i]) * byte(tile(kRhs).rows[i / 4][4 * c + i % 4]);
        std::memcpy(&tile(kSum).rows[r][4 * c], &sum, 4);
      }
    }
  }

 private:
  static constexpr std::uint32_t kHigh = 0xffff0000U;

  static std::uint32_t dword(const Tile& t, int row, int i) {
    std::uint32_t d = 0;
    std::memcpy(&d, &t.rows[row][4 * i], 4);
    return d;
  }
  static float value(std::uint32_t bits) {
    float x = 0;
    std::memcpy(&x, &bits, 4);
    return x;
  }
  static std::int32_t byte(std::byte b) { return static_cast<std::int8_t>(std::to_integer<std::uint8_t>(b)); }
};

}  // namespace ragdot::testing
