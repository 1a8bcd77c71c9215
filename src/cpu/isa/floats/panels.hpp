// Panels of f32 values and the chains over them: what kernels without bf16 instructions share.
// A kernel includes this file inside its target region.
#pragma once

#include <cstddef>
#include <cstdint>

#include "schedule/segments.hpp"

namespace ragdot::cpu::floats {
namespace {

inline constexpr std::int64_t kStripOuters = 32;

/// Depth without gaps or padding, so a segment may have any length. lhs: a row for each outer element, its depth in order. rhs:
/// strips of 32 outer elements; in a strip a row of 32 for each element of depth.
struct FloatPanels {
  static constexpr std::int64_t kRowBytes = kStripOuters * sizeof(float);
  static constexpr std::int64_t kLhsChunkBytes = schedule::kChunk * sizeof(float);
  static constexpr std::int64_t kRhsChunkBytes = schedule::kChunk * kRowBytes;

  static constexpr std::int64_t units(std::int64_t depth) { return depth; }
  static constexpr std::int64_t steps(std::int64_t depth) { return depth; }

  /// Floats from lhs row to lhs row: whole chunks, as packing writes, and a cache line more, so that the rows of a block do not
  /// fall into the same cache sets.
  static constexpr std::int64_t lhs_stride(std::int64_t depth) {
    return schedule::ceil_div(depth, schedule::kChunk) * schedule::kChunk + 16;
  }
  static constexpr std::int64_t bytes(std::int64_t outers, std::int64_t depth) {
    return schedule::ceil_div(outers, kStripOuters) * kStripOuters * lhs_stride(depth) *
           static_cast<std::int64_t>(sizeof(float));
  }
  static constexpr const std::byte* lhs_row(const std::byte* panel, std::int64_t depth, std::int64_t row, std::int64_t at) {
    return panel + (row * lhs_stride(depth) + at) * static_cast<std::int64_t>(sizeof(float));
  }
  static constexpr const std::byte* rhs_strip(const std::byte* panel, std::int64_t depth, std::int64_t col, std::int64_t at) {
    return panel + (col / kStripOuters * depth + at) * kRowBytes;
  }
};

/// Chains of f32 products; Floats is the vectors of the instruction set.
template <class Lanes>
struct F32Chain : Lanes {
  using Floats = Lanes;
  using Vector = typename Lanes::Vector;
  static constexpr bool kIntegers = false;
  static constexpr bool kHasRuns = true;
  struct Panels : FloatPanels {
    static constexpr std::int64_t kVectorBytes = Lanes::kLanes * sizeof(float);
  };

  static Vector dot(Vector sum, Vector a, Vector b) { return Lanes::fma(a, b, sum); }
  static Vector chunk_sum(Vector even, Vector odd) { return Lanes::add(even, odd); }
  static Vector as_floats(Vector sums) { return sums; }
};

/// Sums of int8 products: up to 1,024 of them are exact in f32, and so is every order of adding them; int32 carries them.
template <class Lanes>
struct I8Chain : F32Chain<Lanes> {
  using Vector = typename Lanes::Vector;
  static constexpr bool kIntegers = true;

  static Vector chunk_sum(Vector even, Vector odd) { return Lanes::to_int(Lanes::add(even, odd)); }
  static Vector add(Vector a, Vector b) { return Lanes::add_int(a, b); }
  static Vector as_floats(Vector sums) { return Lanes::from_int(sums); }
};

}  // namespace
}  // namespace ragdot::cpu::floats
