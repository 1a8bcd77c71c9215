// Runs of segments of one element: no chains, every product has its own scales.
// A kernel includes this file inside its target region, behind all other includes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/isa/chains/panels.hpp"
#include "cpu/isa/chains/visit.hpp"
#include "format/fault.hpp"

namespace ragdot::cpu::chains {
namespace {

/// A run of segments of one element each: every product has its own scales, acc = fma(row scale * column scale, a * b, acc).
struct Run {
  std::int64_t at = 0;  // in the panels, in their units of depth
  std::int64_t count = 0;
  std::int64_t ended = 0;  // the first segment's number within the job
};

/// One register block's part of a run. Scales of the next segment stand a stride further.
struct RunVisit {
  const std::byte* lhs[kMostRows] = {};
  const std::byte* rhs = nullptr;
  std::int64_t count = 0;
  float* acc = nullptr;
  bool sets = false;
  const float* row_scales = nullptr;
  const float* col_scales = nullptr;
  std::int64_t row_scales_stride = 0;
  std::int64_t col_scales_stride = 0;
};

enum class RowScales : std::int32_t { alike, each };

/// Where all rows of the block have the same scale, as in a grid of blocks, its product with the column scales is shared.
template <class Chain, int kRows, RowScales kRowScales>
void run_columns(const RunVisit& visit, std::int64_t col) {
  using Floats = typename Chain::Floats;
  typename Floats::Vector acc[kRows][2];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
    const float* at = visit.acc + r * kStripCols + col;
    acc[r][0] = visit.sets ? Floats::zero() : Floats::load(at);
    acc[r][1] = visit.sets ? Floats::zero() : Floats::load(at + Floats::kLanes);
  }
  const std::byte* rhs = visit.rhs + col * 4;
  const float* row_scales = visit.row_scales;
  const float* col_scales = visit.col_scales + col;
  for (std::int64_t i = 0; i < visit.count; ++i, rhs += Chain::Panels::kRowBytes) {
    const auto b0 = Floats::load(rhs);
    const auto b1 = Floats::load(rhs + Chain::Panels::kVectorBytes);
    auto scale0 = Floats::load(col_scales);
    auto scale1 = Floats::load(col_scales + Floats::kLanes);
    if constexpr (kRowScales == RowScales::alike) {
      scale0 = Floats::mul(Floats::spread(row_scales), scale0);
      scale1 = Floats::mul(Floats::spread(row_scales), scale1);
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const auto a = Floats::spread(visit.lhs[r] + 4 * i);
      if constexpr (kRowScales == RowScales::alike) {
        acc[r][0] = Floats::fma(scale0, Floats::mul(a, b0), acc[r][0]);
        acc[r][1] = Floats::fma(scale1, Floats::mul(a, b1), acc[r][1]);
      } else {
        const auto row = Floats::spread(row_scales + r);
        acc[r][0] = Floats::fma(Floats::mul(row, scale0), Floats::mul(a, b0), acc[r][0]);
        acc[r][1] = Floats::fma(Floats::mul(row, scale1), Floats::mul(a, b1), acc[r][1]);
      }
    }
    row_scales += visit.row_scales_stride;
    if (!fault::on(fault::Id::run_scales_stand_still)) col_scales += visit.col_scales_stride;
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
    Floats::store(visit.acc + r * kStripCols + col, acc[r][0]);
    Floats::store(visit.acc + r * kStripCols + col + Floats::kLanes, acc[r][1]);
  }
}

template <class Chain, int kRows, RowScales kRowScales>
void run_segments(const RunVisit& visit) {
  for (std::int64_t col = 0; col < kStripCols; col += 2 * Chain::kLanes) run_columns<Chain, kRows, kRowScales>(visit, col);
}

/// For each number of rows, from 1 on.
template <class Chain, RowScales kS>
inline constexpr std::array kRuns = {run_segments<Chain, 1, kS>, run_segments<Chain, 2, kS>, run_segments<Chain, 3, kS>,
                                     run_segments<Chain, 4, kS>, run_segments<Chain, 5, kS>, run_segments<Chain, 6, kS>};

}  // namespace
}  // namespace ragdot::cpu::chains
