// Panels of granules as the chains of AVX-512 kernels walk them.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <cstddef>
#include <cstdint>

#include "cpu/isa/avx512/fold.hpp"
#include "cpu/isa/target.hpp"
#include "format/fault.hpp"
#include "schedule/segments.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512VBMI)

namespace ragdot::cpu::avx512 {
namespace {

/// Granules of so many elements of depth, which are the panels' unit of it.
template <std::int64_t kDepth>
struct GranulePanels {
  static constexpr std::int64_t kVectorBytes = kTileBytes;
  static constexpr std::int64_t kRowBytes = avx512::kRowBytes;
  static constexpr std::int64_t kLhsChunkBytes = kGranuleBytes * schedule::kChunk / kDepth;
  static constexpr std::int64_t kRhsChunkBytes = kLhsChunkBytes;

  static std::int64_t units(std::int64_t depth) { return schedule::ceil_div(depth, kDepth); }
  static const std::byte* lhs_row(const std::byte* panel, std::int64_t depth, std::int64_t row, std::int64_t at) {
    const auto number = static_cast<std::uint64_t>(row);  // whose quotients are shifts
    const auto granules = static_cast<std::int64_t>(number / kGranuleOuters);
    const auto rest = static_cast<std::int64_t>(number % kGranuleOuters);
    return panel + ((fault::on(fault::Id::first_granule_for_all_rows) ? 0 : granules) * depth + at) * kGranuleBytes +
           rest * avx512::kRowBytes;
  }
  static const std::byte* rhs_strip(const std::byte* panel, std::int64_t depth, std::int64_t col, std::int64_t at) {
    return panel + (col / kGranuleOuters * depth + at) * kGranuleBytes;
  }
};

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
