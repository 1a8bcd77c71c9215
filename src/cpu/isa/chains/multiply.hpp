// The vector kernels' order of work over two panels: strips of columns, turns of what fits the L1 cache, register blocks.
// A kernel includes this file inside its target region, behind all other includes, so that the templates get its instructions.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "cpu/isa/chains/fetch.hpp"
#include "cpu/isa/chains/panels.hpp"
#include "cpu/isa/chains/runs.hpp"
#include "cpu/isa/chains/visit.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"

namespace ragdot::cpu::chains {
namespace {

/// Consecutive chunks of one piece.
struct Stretch {
  std::int64_t element = 0;  // the first
  std::int64_t at = 0;       // in the panels, in their units of depth
  std::int64_t depth = 0;    // elements
  bool begins = false;
  std::int64_t ended = -1;  // the segment's number within the job when it ends here
  bool last = false;        // of the job
};

/// Scales where none are given, of any row and column.
inline constexpr std::array<float, kInnerRows> kOnes = [] {
  std::array<float, kInnerRows> ones{};
  ones.fill(1.0F);
  return ones;
}();

/// Rows in blocks of at most `most`, as equal as they can be: short blocks have too few chains to fill the pipes.
template <class Block>
void for_row_blocks(std::int64_t rows, std::int64_t most, Block block) {
  const std::int64_t blocks = schedule::ceil_div(rows, most);
  const std::int64_t larger = rows % blocks;  // of them have one row more
  for (std::int64_t i = 0, row = 0; i < blocks; ++i) {
    const std::int64_t count = rows / blocks + (i < larger ? 1 : 0);
    block(row, count);
    row += count;
  }
}

/// Weights of one strip instead of a panel of rhs. What the next turns need is packed into the L1 cache; without `pack` chains
/// take it as it is.
struct StripWeights {
  void (*pack)(const PackJob& job);
  PackJob weights;
  std::byte* panel;
  std::int64_t following = 0;  // columns of the next strip
};

template <class Chain>
class Multiplier {
 public:
  using Panels = typename Chain::Panels;
  /// Elements of a turn, and of one whose weights are decoded: 32 KiB of L1 cache take these, lhs and the memory that is asked
  /// for.
  static constexpr std::int64_t kMost = kVisitBytes / Panels::kRhsChunkBytes * schedule::kChunk;
  static constexpr std::int64_t kMostDecoded = kMost / 2;
  static constexpr std::size_t kMostTurns = 4;
  static_assert(kMostDecoded % schedule::kChunk == 0);
  /// Of what is decoded at a time: each turn may end within a chunk.
  static constexpr std::size_t kDecodedBytes =
      (kMostDecoded / schedule::kChunk + static_cast<std::int64_t>(kMostTurns) - 1) * Panels::kRhsChunkBytes;

  explicit Multiplier(const MultiplyJob& job, const StripWeights* strip = nullptr)
      : job_(job),
        strip_(strip),
        most_(strip != nullptr && strip->pack != nullptr ? kMostDecoded : kMost),
        scaled_(Chain::kIntegers || job.row_scales != nullptr) {
    std::int64_t turns = 0;
    for (const schedule::Piece& piece : job.pieces) {
      depth_ += Panels::units(piece.depth());
      turns += schedule::ceil_div(piece.depth(), most_);
    }
    const std::int64_t row_blocks = schedule::ceil_div(job.rows, Chain::kBlockRows);
    const std::int64_t blocks = row_blocks * schedule::ceil_div(job.cols, kStripCols);
    fetcher_ = {job.ahead, turns * blocks};
    if (strip != nullptr && !strip->weights.side->blocked()) fetch_following(turns * blocks);
    for (Turn& turn : turns_) {
      turn.lhs_panel = job.lhs_panel;
      turn.panel_depth = depth_;
      turn.row = job.row;
      turn.blocks = row_blocks;
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
        run_blocks({at, count, ended});
        at += count;
        ended += count;
        i += static_cast<std::size_t>(count);
        continue;
      }
      stretches(piece, at, ended);
      at += Panels::units(piece.depth());
      if (piece.last) ++ended;
      ++i;
    }
    take_turns();
    if constexpr (Floats::kStores) {
      if (job_.store != nullptr) store_rest();
    }
  }

 private:
  using Floats = typename Chain::Floats;

  /// How many whole segments of one element there are from piece `i` on.
  std::int64_t run_length(std::size_t i) const {
    std::int64_t count = 0;
    if (!Chain::kHasRuns || job_.row_scales == nullptr) return count;
    for (; i < job_.pieces.size() && job_.pieces[i].first && job_.pieces[i].last && job_.pieces[i].depth() == 1; ++i) ++count;
    return count;
  }

  /// Leaves in changes_[r] whether row r's scale differs from that of the row before in any segment of a run.
  void find_changes(const float* scales, std::int64_t count) {
    changes_.fill(0);
    for (std::int64_t i = 0; i < count; ++i, scales += job_.row_scales_stride) {
      for (std::int64_t r = 1; r < job_.rows; ++r) {
        changes_[static_cast<std::size_t>(r)] |=
            std::bit_cast<std::uint32_t>(scales[r]) ^ std::bit_cast<std::uint32_t>(scales[r - 1]);
      }
    }
  }

  void run_blocks(const Run& run) {
    if constexpr (Chain::kHasRuns) {
      RunVisit visit;
      visit.count = run.count;
      visit.sets = job_.first && run.ended == 0;
      visit.row_scales_stride = job_.row_scales_stride;
      visit.col_scales_stride = job_.col_scales_stride;
      const float* row_scales = job_.row_scales + run.ended * job_.row_scales_stride;
      find_changes(row_scales, run.count);
      for (std::int64_t col = 0; col < job_.cols; col += kStripCols) {
        visit.rhs = Panels::rhs_strip(job_.rhs_panel, depth_, col, run.at);
        visit.col_scales = job_.col_scales + run.ended * job_.col_scales_stride + col;
        for_row_blocks(job_.rows, kMostRows, [&](std::int64_t row, std::int64_t rows) {
          for (std::int64_t r = 0; r < rows; ++r)
            visit.lhs[r] = Panels::lhs_row(job_.lhs_panel, depth_, job_.row + row + r, run.at);
          visit.row_scales = row_scales + row;
          visit.acc = job_.acc + col * job_.strip_rows + row * kStripCols;
          const bool alike =
              fault::on(fault::Id::row_scales_taken_alike) ||
              !std::any_of(changes_.begin() + row + 1, changes_.begin() + row + rows, [](auto c) { return c != 0; });
          const auto& segments = alike ? kRuns<Chain, RowScales::alike> : kRuns<Chain, RowScales::each>;
          segments[static_cast<std::size_t>(rows - 1)](visit);
        });
      }
    }
  }

  void stretches(const schedule::Piece& piece, std::int64_t at, std::int64_t ended) {
    Stretch stretch;
    stretch.at = at;
    for (std::int64_t done = 0; done < piece.depth(); done += stretch.depth) {
      stretch.element = piece.begin + done;
      stretch.depth = std::min(most_from(stretch.element), piece.depth() - done);
      stretch.begins = piece.first && done == 0;
      const bool ends = done + stretch.depth == piece.depth();
      stretch.ended = piece.last && ends ? ended : -1;
      stretch.last = ends && &piece == &job_.pieces.back();
      if (count_ > 0 && (count_ == kMostTurns || taken_ + stretch.depth > most_)) take_turns();
      pending_[count_++] = stretch;
      taken_ += stretch.depth;
      stretch.at += Panels::units(stretch.depth);
    }
  }

  void take_turns() {
    if (count_ == 0) return;
    if (strip_ != nullptr) take_weights();
    for (std::int64_t col = 0; col < job_.cols; col += kStripCols) {
      for (std::size_t i = 0; i < count_; ++i) {
        begin_turn(turns_[i], pending_[i], col);
        const std::size_t taken = fault::on(fault::Id::packed_turns_take_first_weights) ? 0 : i;
        turns_[i].rhs =
            strip_ != nullptr ? taken_weights_[taken] : Panels::rhs_strip(job_.rhs_panel, depth_, col, pending_[i].at);
        if constexpr (requires { &Chain::find_starts; }) {
          Chain::find_starts(turns_[i].rhs, turns_[i].depth, starts_[i]);
          turns_[i].starts = &starts_[fault::on(fault::Id::quads_first_starts_for_all_turns) ? 0 : i];
        }
      }
      std::int64_t block = 0;
      for_row_blocks(job_.rows, Chain::kBlockRows, [&](std::int64_t row, std::int64_t rows) {
        if constexpr (Floats::kStores) out_.ask(turns_[count_ - 1].out, row + rows);
        for (std::size_t i = 0; i < count_; ++i) {
          fetcher_.step();
          turns_[i].block = block;
          kVisits<Chain>[static_cast<std::size_t>(rows - 1)](turns_[i], out_, row);
        }
        ++block;
      });
    }
    stored_ = job_.store != nullptr && pending_[count_ - 1].last ? job_.cols / kStripCols * kStripCols : 0;
    count_ = 0;
    taken_ = 0;
  }

  /// Elements of a turn from `element` on.
  std::int64_t most_from(std::int64_t element) const {
    if constexpr (requires { Chain::kOneScale; }) {
      const Side& side = *strip_->weights.side;
      if (side.folds()) return std::min(most_, side.depth_grid.next_cut(element) - element);
    }
    return most_;
  }

  /// Asks for the next strip of weights that are not packed, while this one is decoded and multiplied: column by column, as far
  /// as the pieces go, which is how memory is read best.
  void fetch_following(std::int64_t visits) {
    if (strip_->following == 0) return;
    const PackJob& weights = strip_->weights;
    const std::int64_t begin = job_.pieces.front().begin;
    const std::int64_t depth = job_.pieces.back().end - begin;
    fetcher_ = {{ahead_of(*weights.side, weights.outer + kStripCols, strip_->following, begin, depth)}, visits + depth_};
  }

  /// Decodes chunk by chunk, and asks for memory in between.
  void take_columns(PackJob job) {
    for (std::size_t i = 0; i < count_; ++i) {
      const std::int64_t end = pending_[i].element + pending_[i].depth;
      taken_weights_[i] = job.panel;
      for (std::int64_t at = pending_[i].element; at < end; at += schedule::kChunk) {
        const std::int64_t from = fault::on(fault::Id::columns_first_chunk_repeated) ? pending_[i].element : at;
        const schedule::Piece elements = {from, std::min(end, from + schedule::kChunk), true, true};
        job.pieces = {&elements, 1};
        fetcher_.step();
        strip_->pack(job);
        job.panel += Panels::kRhsChunkBytes;
      }
    }
  }

  void take_weights() {
    PackJob job = strip_->weights;
    if (strip_->pack == nullptr) {
      for (std::size_t i = 0; i < count_; ++i) taken_weights_[i] = job.side->value(job.outer, pending_[i].element);
      return;
    }
    job.panel = strip_->panel;
    if (!job.side->blocked()) return take_columns(job);
    for (std::size_t i = 0; i < count_; ++i) {
      const Stretch& stretch = pending_[i];
      const schedule::Piece elements = {stretch.element, stretch.element + stretch.depth, true, true};
      job.pieces = {&elements, 1};
      strip_->pack(job);
      taken_weights_[i] = job.panel;
      job.panel += schedule::ceil_div(stretch.depth, schedule::kChunk) * Panels::kRhsChunkBytes;
    }
    // Packed weights follow each other: the next turns' are likely to be as many as these.
    const Stretch& last = pending_[count_ - 1];
    fetcher_ = {{ahead_of(*job.side, job.outer, job.count, last.element + last.depth, taken_)},
                static_cast<std::int64_t>(count_) * schedule::ceil_div(job_.rows, Chain::kBlockRows)};
  }

  /// Writes fields one by one: a turn that is copied would be read before it has reached the cache.
  void begin_turn(Turn& turn, const Stretch& stretch, std::int64_t col) const {
    const std::int64_t sums = col * job_.strip_rows;  // in acc and part
    turn.at = stretch.at;
    turn.depth = stretch.depth;
    turn.carried = scaled_ ? reinterpret_cast<float*>(job_.part) + sums : job_.acc + sums;
    turn.begins = stretch.begins;
    if constexpr (requires { Chain::kOneScale; }) {
      const PackJob& weights = strip_->weights;
      std::int64_t element = stretch.element;
      if (fault::on(fault::Id::codes_first_scale_for_all_turns)) element = job_.pieces.front().begin;
      if (weights.side->folds()) turn.rhs_scale = weights.side->scale(weights.outer, element);
    }
    const bool stores = job_.store != nullptr && stretch.last && job_.cols - col >= kStripCols;
    turn.out = stores ? job_.store->out + col * element_bytes(job_.store->format) : nullptr;
    const bool ends = scaled_ && stretch.ended >= 0;
    turn.acc = ends ? job_.acc + sums : nullptr;
    if (!ends) return;
    turn.sets = job_.first && stretch.ended == 0;
    const bool given = job_.row_scales != nullptr;
    turn.row_scales = given ? job_.row_scales + stretch.ended * job_.row_scales_stride : kOnes.data();
    turn.col_scales = given ? job_.col_scales + stretch.ended * job_.col_scales_stride + col : kOnes.data();
  }

  /// Stores the columns that no turn has, from acc.
  void store_rest() {
    const std::int64_t cols = job_.cols - stored_;
    const bool forgotten = stored_ > 0 && fault::on(fault::Id::chains_rest_unstored);
    if (cols > 0 && !forgotten) Floats::store_all(job_.store->columns(stored_, cols));
    out_.finish();
  }

  const MultiplyJob& job_;
  const StripWeights* strip_;
  std::int64_t most_;  // elements of a turn
  bool scaled_;
  Fetcher fetcher_;
  typename Floats::Out out_;
  std::int64_t stored_ = 0;  // columns of out
  std::array<Stretch, kMostTurns> pending_;
  std::array<Turn, kMostTurns> turns_;
  std::array<const std::byte*, kMostTurns> taken_weights_ = {};
  alignas(64) std::array<Starts, kMostTurns> starts_;
  std::size_t count_ = 0;
  std::int64_t taken_ = 0;
  std::int64_t depth_ = 0;                         // of the panels, in their units
  std::array<std::uint32_t, kInnerRows> changes_;  // between the row scales of the run at hand
};

template <class Chain>
void multiply(const MultiplyJob& job) {
  Multiplier<Chain>(job).run();
}

/// With weights and no panel of them, strip by strip. Without kPack the chains decode packed ones.
template <class Chain, void (*kPack)(const PackJob&) = nullptr>
void multiply_strips(const MultiplyJob& job, const PackJob& weights) {
  alignas(64) std::array<std::byte, Multiplier<Chain>::kDecodedBytes> panel;
  StripWeights strip_weights = {kPack, weights, panel.data(), 0};
  MultiplyJob strip = job;
  StoreJob store;
  for (std::int64_t col = 0; col < job.cols; col += kStripCols) {
    const std::int64_t sums = col * job.strip_rows;
    strip.cols = strip_weights.weights.count = std::min(kStripCols, job.cols - col);
    strip_weights.weights.outer = weights.outer + col;
    strip_weights.following = std::clamp<std::int64_t>(job.cols - col - kStripCols, 0, kStripCols);
    strip.acc = job.acc + sums;
    strip.part = job.part + sums * static_cast<std::int64_t>(sizeof(float));
    if (job.col_scales != nullptr) strip.col_scales = job.col_scales + col;
    if (job.store != nullptr) {
      store = job.store->columns(col, strip.cols);
      strip.store = &store;
    }
    Multiplier<Chain>(strip, &strip_weights).run();
  }
}

}  // namespace
}  // namespace ragdot::cpu::chains
