// Runs of segments of one element: no chains, every product has its own scales.
// A kernel includes this file inside its target region, behind all other includes.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "cpu/isa/chains/panels.hpp"
#include "cpu/isa/chains/turns.hpp"
#include "cpu/isa/chains/visit.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"

namespace ragdot::cpu::chains {
namespace {

/// A run of segments of one element each: every product has its own scales, acc = fma(row scale * column scale, a * b, acc).
struct Run {
  std::int64_t at = 0;  // in the panels, in their units of depth
  std::int64_t count = 0;
  std::int64_t ended = 0;  // the first segment's number within the job
};

/// Where all rows have the same scales, the strip's scales hold them already; where a block's rows have, it multiplies once.
enum class RowScales : std::int32_t { in_strip, alike, each };

/// One register block's part of a run.
struct RunVisit {
  const std::byte* lhs[kMostRows] = {};
  const std::byte* rhs = nullptr;
  std::int64_t count = 0;
  float* acc = nullptr;
  bool sets = false;
  const float* row_scales = nullptr;  // the next segment's stand a stride further
  std::int64_t row_scales_stride = 0;
  const float* strip_scales = nullptr;  // kStripCols for each segment
};

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
  const float* strip_scales = visit.strip_scales + col;
  for (std::int64_t i = 0; i < visit.count; ++i, rhs += Chain::Panels::kRowBytes) {
    const auto b0 = Floats::load(rhs);
    const auto b1 = Floats::load(rhs + Chain::Panels::kVectorBytes);
    auto scale0 = Floats::load(strip_scales);
    auto scale1 = Floats::load(strip_scales + Floats::kLanes);
    if constexpr (kRowScales == RowScales::alike) {
      scale0 = Floats::mul(Floats::spread(row_scales), scale0);
      scale1 = Floats::mul(Floats::spread(row_scales), scale1);
    }
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const auto a = Floats::spread(visit.lhs[r] + 4 * i);
      if constexpr (kRowScales == RowScales::each) {
        const auto row = Floats::spread(row_scales + r);
        acc[r][0] = Floats::fma(Floats::mul(row, scale0), Floats::mul(a, b0), acc[r][0]);
        acc[r][1] = Floats::fma(Floats::mul(row, scale1), Floats::mul(a, b1), acc[r][1]);
      } else {
        acc[r][0] = Floats::fma(scale0, Floats::mul(a, b0), acc[r][0]);
        acc[r][1] = Floats::fma(scale1, Floats::mul(a, b1), acc[r][1]);
      }
    }
    row_scales += visit.row_scales_stride;
    if (!fault::on(fault::Id::run_scales_stand_still)) strip_scales += kStripCols;
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

/// The products of a run with all rows and columns of the job, over panels `depth` units deep. A strip's rhs values and scales,
/// at most 8 KiB each, stay in the L1 cache while all rows take their turn.
template <class Chain>
class RunProduct {
 public:
  RunProduct(const MultiplyJob& job, std::int64_t depth, const Run& run) : job_(job), depth_(depth), run_(run) {
    row_scales_ = job.row_scales + run.ended * job.row_scales_stride;
    find_changes();
    all_alike_ = alike(0, job.rows);
  }

  void run() {
    for (std::int64_t col = 0; col < job_.cols; col += kStripCols) take_strip(col);
  }

 private:
  using Floats = typename Chain::Floats;
  using Panels = typename Chain::Panels;
  /// Rows of a block: two chains each, and room for two rhs, two scales, lhs and a product.
  static constexpr std::int64_t kRows = std::min(kMostRows, (Floats::kRegisters - 6) / 2);

  /// Leaves in changes_[r] whether row r's scale differs from that of the row before in any segment of the run.
  void find_changes() {
    changes_.fill(0);
    std::uint32_t* changes = changes_.data();
    const std::int64_t rows = job_.rows;
    const float* scales = row_scales_;
    for (std::int64_t i = 0; i < run_.count; ++i, scales += job_.row_scales_stride) {
      for (std::int64_t r = 1; r < rows; ++r)
        changes[r] |= std::bit_cast<std::uint32_t>(scales[r]) ^ std::bit_cast<std::uint32_t>(scales[r - 1]);
    }
  }

  /// Whether these rows have the same scales.
  [[nodiscard]] bool alike(std::int64_t row, std::int64_t rows) const {
    if (fault::on(fault::Id::row_scales_taken_alike)) return true;
    return !std::any_of(changes_.begin() + row + 1, changes_.begin() + row + rows, [](auto c) { return c != 0; });
  }

  void fill_strip_scales(std::int64_t col) {
    const float* row = row_scales_;
    const float* from = job_.col_scales + run_.ended * job_.col_scales_stride + col;
    float* to = strip_scales_.data();
    for (std::int64_t i = 0; i < run_.count; ++i, row += job_.row_scales_stride, from += job_.col_scales_stride) {
      for (std::int64_t c = 0; c < kStripCols; c += Floats::kLanes, to += Floats::kLanes) {
        const auto scales = Floats::load(from + c);
        Floats::store(to, all_alike_ ? Floats::mul(Floats::spread(row), scales) : scales);
      }
    }
  }

  void take_strip(std::int64_t col) {
    RunVisit visit;
    visit.strip_scales = strip_scales_.data();
    visit.row_scales_stride = job_.row_scales_stride;
    visit.count = run_.count;
    visit.sets = job_.first && run_.ended == 0;
    visit.rhs = Panels::rhs_strip(job_.rhs_panel, depth_, col, run_.at);
    fill_strip_scales(col);
    RowBlocks(job_.rows, kRows).each([&](std::int64_t /*block*/, std::int64_t row, std::int64_t rows) {
      for (std::int64_t r = 0; r < rows; ++r)
        visit.lhs[r] = Panels::lhs_row(job_.lhs_panel, depth_, job_.row + row + r, run_.at);
      visit.row_scales = row_scales_ + row;
      visit.acc = job_.acc + col * job_.strip_rows + row * kStripCols;
      const auto& segments = all_alike_         ? kRuns<Chain, RowScales::in_strip>
                             : alike(row, rows) ? kRuns<Chain, RowScales::alike>
                                                : kRuns<Chain, RowScales::each>;
      segments[static_cast<std::size_t>(rows - 1)](visit);
    });
  }

  const MultiplyJob& job_;
  const std::int64_t depth_;
  const Run run_;
  const float* row_scales_;                        // of the run's first segment
  std::array<std::uint32_t, kInnerRows> changes_;  // between the row scales
  bool all_alike_;
  alignas(64) std::array<float, kMostPieces * kStripCols> strip_scales_;
};

}  // namespace
}  // namespace ragdot::cpu::chains
