// Few rows times weights that lie in no panel: strip by strip of columns, turn by turn of the reduction axis.
// A kernel includes this file inside its target region, behind all other includes, so that the templates get its instructions.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/isa/chains/fetch.hpp"
#include "cpu/isa/chains/panels.hpp"
#include "cpu/isa/chains/turns.hpp"
#include "cpu/isa/chains/visit.hpp"
#include "cpu/isa/features.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"

namespace ragdot::cpu::chains {
namespace {

/// The product of one call. kPack decodes what a turn needs into the L1 cache; without it chains take weights as they are.
template <class Chain, void (*kPack)(const PackJob&)>
class StripsProduct {
 public:
  StripsProduct(const MultiplyJob& job, const PackJob& weights)
      : job_(job), weights_(weights), blocked_(weights.side->blocked()), pack_(weights), rows_(job.rows, Chain::kBlockRows) {
    static_assert(!Chain::kIntegers && !Chain::kHasRuns && Floats::kStores);
    pack_.pieces = {&elements_, 1};
    for (const schedule::Piece& piece : job.pieces) depth_ += Panels::units(piece.depth());
    turn_.lhs_panel = job.lhs_panel;
    turn_.panel_depth = depth_;
    turn_.row = job.row;
    turn_.blocks = rows_.count();
    turn_.l2_first = asks_l2_first();
    turn_.rhs = decoded_.data();
    if (job.store != nullptr) out_ = Floats::out_of(*job.store);
  }

  void run() {
    for (std::int64_t col = 0; col < job_.cols; col += kStripCols) {
      pack_.outer = weights_.outer + col;
      pack_.count = std::min(kStripCols, job_.cols - col);
      if (!blocked_) fetch_following(col);
      std::int64_t at = 0;
      std::int64_t ended = 0;
      for (const schedule::Piece& piece : job_.pieces) {
        each_stretch<Panels>(
            job_, piece, at, ended, [this](std::int64_t element) { return most_from(element); },
            [this, col](const Stretch& stretch) { take(stretch, col); });
      }
    }
    if (job_.store == nullptr) return;
    const std::int64_t stored = job_.cols / kStripCols * kStripCols;
    const bool forgotten = stored > 0 && fault::on(fault::Id::chains_rest_unstored);
    if (stored < job_.cols && !forgotten) Floats::store_all(job_.store->columns(stored, job_.cols - stored));
    out_.finish();
  }

 private:
  using Panels = typename Chain::Panels;
  using Floats = typename Chain::Floats;
  /// Elements of a turn: 32 KiB of L1 cache take what is decoded, lhs and the memory that is asked for.
  static constexpr std::int64_t kMost = kVisitBytes / (kPack == nullptr ? 1 : 2) / Panels::kRhsChunkBytes * schedule::kChunk;

  std::int64_t most_from(std::int64_t element) const {
    if constexpr (requires { Chain::kOneScale; }) {
      const Side& side = *weights_.side;
      if (side.folds()) return std::min(kMost, side.depth_grid.next_cut(element) - element);
    }
    return kMost;
  }

  void take(const Stretch& stretch, std::int64_t col) {
    begin_turn(turn_, job_, job_.row_scales != nullptr, stretch, col);
    if constexpr (requires { Chain::kOneScale; }) {
      const std::int64_t element =
          fault::on(fault::Id::codes_first_scale_for_all_turns) ? job_.pieces.front().begin : stretch.element;
      if (weights_.side->folds()) turn_.rhs_scale = weights_.side->scale(pack_.outer, element);
    }
    std::int64_t element = stretch.element;
    if (fault::on(fault::Id::packed_turns_take_first_weights)) element = job_.pieces.front().begin;
    if constexpr (kPack == nullptr) {
      turn_.rhs = weights_.side->value(pack_.outer, element);
    } else {
      blocked_ ? decode(element, element + stretch.depth) : decode_columns(stretch);
    }
    rows_.each([this](std::int64_t block, std::int64_t row, std::int64_t rows) {
      out_.ask(turn_.out, row + rows);
      fetcher_.step();
      turn_.block = block;
      kVisits<Chain>[static_cast<std::size_t>(rows - 1)](turn_, out_, row);
      turn_.ahead += turn_.ahead_lines * schedule::ceil_div(turn_.depth, schedule::kChunk) * kLineBytes;
    });
  }

  void decode(std::int64_t begin, std::int64_t end) {
    elements_ = {begin, end, true, true};
    pack_.panel = decoded_.data();
    kPack(pack_);
    // Packed weights follow each other: the next turn's are likely to be as many as these. Blocks ask for a share each.
    turn_.ahead = weights_.side->value(pack_.outer, end);
    const std::int64_t chunk_bytes =
        std::min(schedule::kChunk, end - begin) * kPackedCols * element_bytes(weights_.side->format);
    turn_.ahead_lines = schedule::ceil_div(chunk_bytes, rows_.count() * kLineBytes);
  }

  /// Chunk by chunk, and asks for memory in between.
  void decode_columns(const Stretch& stretch) {
    const std::int64_t end = stretch.element + stretch.depth;
    pack_.panel = decoded_.data();
    for (std::int64_t at = stretch.element; at < end; at += schedule::kChunk, pack_.panel += Panels::kRhsChunkBytes) {
      const std::int64_t from = fault::on(fault::Id::columns_first_chunk_repeated) ? stretch.element : at;
      elements_ = {from, std::min(end, from + schedule::kChunk), true, true};
      fetcher_.step();
      kPack(pack_);
    }
  }

  /// Asks for the next strip of weights that are not packed, while this one is decoded and multiplied: column by column, as far
  /// as the pieces go, which is how memory is read best.
  void fetch_following(std::int64_t col) {
    const std::int64_t following = std::min(kStripCols, job_.cols - col - kStripCols);
    fetcher_ = {};
    if (following <= 0) return;
    const std::int64_t begin = job_.pieces.front().begin;
    const std::int64_t depth = job_.pieces.back().end - begin;
    std::int64_t visits = depth_;
    for (const schedule::Piece& piece : job_.pieces) visits += schedule::ceil_div(piece.depth(), kMost) * rows_.count();
    fetcher_ = {{ahead_of(*weights_.side, pack_.outer + kStripCols, following, begin, depth)}, visits, turn_.l2_first};
  }

  const MultiplyJob& job_;
  const PackJob& weights_;
  const bool blocked_;
  PackJob pack_;              // of the strip at hand
  schedule::Piece elements_;  // that it packs
  const RowBlocks rows_;
  std::int64_t depth_ = 0;  // of the lhs panel, in its units
  Turn turn_;
  Fetcher fetcher_;  // of weights that are not packed, else of nothing
  typename Floats::Out out_;
  alignas(64) std::array<std::byte, kPack == nullptr ? 64 : kMost / schedule::kChunk * Panels::kRhsChunkBytes> decoded_;
};

template <class Chain, void (*kPack)(const PackJob&) = nullptr>
void multiply_strips(const MultiplyJob& job, const PackJob& weights) {
  StripsProduct<Chain, kPack>(job, weights).run();
}

}  // namespace
}  // namespace ragdot::cpu::chains
