// The panels of kernels whose chains take one dword of each operand a step: f32 values, or pairs of int16.
// A kernel includes this file inside its target region, so everything here belongs to that file alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "schedule/segments.hpp"

namespace ragdot::cpu::chains {
namespace {

inline constexpr std::int64_t kLineBytes = 64;  // of the caches

enum class Role : std::int32_t { lhs, rhs };

/// Outer elements of a strip of the rhs panel, and columns of a strip of acc.
inline constexpr std::int64_t kStripCols = 32;

/// A dword holds kElements consecutive elements of depth; a piece ends with zeros up to a whole dword, and nothing else lies
/// between pieces, so a segment may have any length. lhs: a row of dwords for each outer element. rhs: strips of 32 outer
/// elements; in a strip a row of 32 dwords for each dword of depth. Depths of panels count dwords.
template <int kElements>
struct DwordPanels {
  static constexpr std::int64_t kDword = 4;  // bytes
  static constexpr std::int64_t kRowBytes = kStripCols * kDword;
  static constexpr std::int64_t kLhsChunkBytes = schedule::kChunk / kElements * kDword;
  static constexpr std::int64_t kRhsChunkBytes = schedule::kChunk / kElements * kRowBytes;

  static constexpr std::int64_t units(std::int64_t depth) { return schedule::ceil_div(depth, kElements); }
  /// Steps of a chunk of `depth` elements.
  static constexpr std::int64_t steps(std::int64_t depth) { return schedule::ceil_div(depth, kElements); }

  /// Dwords from lhs row to lhs row. Packing writes 32 at a time, so the last piece may write up to 31 more; and rows a power
  /// of two apart would fall into the same cache sets.
  static constexpr std::int64_t lhs_stride(std::int64_t depth) { return (schedule::ceil_div(depth, 32) + 1) * 32; }
  static constexpr std::int64_t bytes(std::int64_t outers, std::int64_t depth) {
    return schedule::ceil_div(outers, kStripCols) * kStripCols * lhs_stride(units(depth)) * kDword;
  }
  static constexpr const std::byte* lhs_row(const std::byte* panel, std::int64_t depth, std::int64_t row, std::int64_t at) {
    return panel + (row * lhs_stride(depth) + at) * kDword;
  }
  static constexpr const std::byte* rhs_strip(const std::byte* panel, std::int64_t depth, std::int64_t col, std::int64_t at) {
    return panel + (col / kStripCols * depth + at) * kRowBytes;
  }
};

}  // namespace
}  // namespace ragdot::cpu::chains
