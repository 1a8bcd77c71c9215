// The vector kernels' order of work over two panels: strips of columns, turns of what fits the L1 cache, register blocks.
// A kernel includes this file inside its target region, behind all other includes, so that the templates get its instructions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/isa/chains/fetch.hpp"
#include "cpu/isa/chains/panels.hpp"
#include "cpu/isa/chains/runs.hpp"
#include "cpu/isa/chains/turns.hpp"
#include "cpu/isa/chains/visit.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"

namespace ragdot::cpu::chains {
namespace {

template <class Chain>
class Multiplier {
 public:
  using Panels = typename Chain::Panels;
  explicit Multiplier(const MultiplyJob& job)
      : job_(job), rows_(job.rows, Chain::kBlockRows), scaled_(Chain::kIntegers || job.row_scales != nullptr) {
    std::int64_t turns = 0;
    for (const schedule::Piece& piece : job.pieces) {
      depth_ += Panels::units(piece.depth());
      turns += schedule::ceil_div(piece.depth(), kMost);
    }
    fetcher_ = {job.ahead, turns * rows_.count() * schedule::ceil_div(job.cols, kStripCols)};
    for (Turn& turn : turns_) {
      turn.lhs_panel = job.lhs_panel;
      turn.panel_depth = depth_;
      turn.row = job.row;
    }
    if constexpr (Floats::kStores) {
      if (job.store != nullptr) out_ = Floats::out_of(*job.store);
    }
  }

  void run() {
    std::int64_t at = 0;
    std::int64_t ended = 0;
    for (std::size_t i = 0; i < job_.pieces.size();) {
      const schedule::Piece& piece = job_.pieces[i];
      if (const std::int64_t count = run_length(i); count > 1) {
        take_turns();
        if constexpr (Chain::kHasRuns) RunProduct<Chain>(job_, depth_, {at, count, ended}).run();
        at += count;
        ended += count;
        i += static_cast<std::size_t>(count);
        continue;
      }
      each_stretch<Panels>(
          job_, piece, at, ended, [](std::int64_t /*element*/) { return kMost; },
          [this](const Stretch& stretch) {
            if (count_ > 0 && (count_ == kMostTurns || taken_ + stretch.depth > kMost)) take_turns();
            pending_[count_++] = stretch;
            taken_ += stretch.depth;
          });
      ++i;
    }
    take_turns();
    if constexpr (Floats::kStores) {
      if (job_.store != nullptr) store_rest();
    }
  }

 private:
  using Floats = typename Chain::Floats;
  static constexpr std::int64_t kMost = kVisitBytes / Panels::kRhsChunkBytes * schedule::kChunk;  // elements of a turn
  static constexpr std::size_t kMostTurns = 4;

  /// How many whole segments of one element there are from piece `i` on.
  std::int64_t run_length(std::size_t i) const {
    std::int64_t count = 0;
    if (!Chain::kHasRuns || job_.row_scales == nullptr) return count;
    for (; i < job_.pieces.size() && job_.pieces[i].first && job_.pieces[i].last && job_.pieces[i].depth() == 1; ++i) ++count;
    return count;
  }

  void take_turns() {
    if (count_ == 0) return;
    for (std::int64_t col = 0; col < job_.cols; col += kStripCols) {
      for (std::size_t i = 0; i < count_; ++i) {
        begin_turn(turns_[i], job_, scaled_, pending_[i], col);
        turns_[i].rhs = Panels::rhs_strip(job_.rhs_panel, depth_, col, pending_[i].at);
        if constexpr (requires { &Chain::find_starts; }) {
          Chain::find_starts(turns_[i].rhs, turns_[i].depth, starts_[i]);
          turns_[i].starts = &starts_[fault::on(fault::Id::quads_first_starts_for_all_turns) ? 0 : i];
        }
      }
      rows_.each([&](std::int64_t /*block*/, std::int64_t row, std::int64_t rows) {
        if constexpr (Floats::kStores) out_.ask(turns_[count_ - 1].out, row + rows);
        for (std::size_t i = 0; i < count_; ++i) {
          fetcher_.step();
          kVisits<Chain>[static_cast<std::size_t>(rows - 1)](turns_[i], out_, row);
        }
      });
    }
    stored_ = job_.store != nullptr && pending_[count_ - 1].last ? job_.cols / kStripCols * kStripCols : 0;
    count_ = 0;
    taken_ = 0;
  }

  /// Stores the columns that no turn has, from acc.
  void store_rest() {
    const std::int64_t cols = job_.cols - stored_;
    const bool forgotten = stored_ > 0 && fault::on(fault::Id::chains_rest_unstored);
    if (cols > 0 && !forgotten) Floats::store_all(job_.store->columns(stored_, cols));
    out_.finish();
  }

  const MultiplyJob& job_;
  const RowBlocks rows_;
  bool scaled_;
  Fetcher fetcher_;
  typename Floats::Out out_;
  std::int64_t stored_ = 0;  // columns of out
  std::array<Stretch, kMostTurns> pending_;
  std::array<Turn, kMostTurns> turns_;
  alignas(64) std::array<Starts, kMostTurns> starts_;
  std::size_t count_ = 0;
  std::int64_t taken_ = 0;
  std::int64_t depth_ = 0;  // of the panels, in their units
};

template <class Chain>
void multiply(const MultiplyJob& job) {
  Multiplier<Chain>(job).run();
}

}  // namespace
}  // namespace ragdot::cpu::chains
