// What the orders of work over strips of columns have in common: turns of what the L1 cache holds, and rows in blocks.
// A kernel includes this file inside its target region.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/isa/chains/panels.hpp"
#include "cpu/isa/chains/visit.hpp"
#include "cpu/kernel.hpp"

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

/// Calls take(stretch) for the stretches of a piece of the job, of at most most(element) elements from there on. `at` and
/// `ended` count on from piece to piece.
template <class Panels, class Most, class Take>
[[gnu::always_inline]] inline void each_stretch(const MultiplyJob& job, const schedule::Piece& piece, std::int64_t& at,
                                                std::int64_t& ended, Most most, Take take) {
  Stretch stretch;
  stretch.at = at;
  for (std::int64_t done = 0; done < piece.depth(); done += stretch.depth) {
    stretch.element = piece.begin + done;
    stretch.depth = std::min(most(stretch.element), piece.depth() - done);
    stretch.begins = piece.first && done == 0;
    const bool ends = done + stretch.depth == piece.depth();
    stretch.ended = piece.last && ends ? ended : -1;
    stretch.last = ends && &piece == &job.pieces.back();
    take(stretch);
    stretch.at += Panels::units(stretch.depth);
  }
  at += Panels::units(piece.depth());
  if (piece.last) ++ended;
}

/// Scales where none are given, of any row and column.
inline constexpr std::array<float, kInnerRows> kOnes = [] {
  std::array<float, kInnerRows> ones{};
  ones.fill(1.0F);
  return ones;
}();

/// Rows in blocks of at most `most`, as equal as they can be: short blocks have too few chains to fill the pipes.
class RowBlocks {
 public:
  RowBlocks(std::int64_t rows, std::int64_t most)
      : count_(schedule::ceil_div(rows, most)), least_(count_ == 0 ? 0 : rows / count_), larger_(rows - least_ * count_) {}

  [[nodiscard]] std::int64_t count() const { return count_; }

  /// block(number, first row, rows)
  template <class Block>
  [[gnu::always_inline]] void each(Block block) const {
    for (std::int64_t i = 0, row = 0; i < count_; ++i) {
      const std::int64_t rows = least_ + (i < larger_ ? 1 : 0);
      block(i, row, rows);
      row += rows;
    }
  }

 private:
  std::int64_t count_;
  std::int64_t least_;   // rows of a block
  std::int64_t larger_;  // blocks have one row more
};

/// A turn for the strip from column `col` on, but for its rhs. Writes fields one by one: a turn that is copied would be read
/// before it has reached the cache.
inline void begin_turn(Turn& turn, const MultiplyJob& job, bool scaled, const Stretch& stretch, std::int64_t col) {
  const std::int64_t sums = col * job.strip_rows;  // in acc and part
  turn.at = stretch.at;
  turn.depth = stretch.depth;
  turn.carried = scaled ? reinterpret_cast<float*>(job.part) + sums : job.acc + sums;
  turn.begins = stretch.begins;
  const bool stores = job.store != nullptr && stretch.last && job.cols - col >= kStripCols;
  turn.out = stores ? job.store->out + col * element_bytes(job.store->format) : nullptr;
  const bool ends = scaled && stretch.ended >= 0;
  turn.acc = ends ? job.acc + sums : nullptr;
  if (!ends) return;
  turn.sets = job.first && stretch.ended == 0;
  const bool given = job.row_scales != nullptr;
  turn.row_scales = given ? job.row_scales + stretch.ended * job.row_scales_stride : kOnes.data();
  turn.col_scales = given ? job.col_scales + stretch.ended * job.col_scales_stride + col : kOnes.data();
}

}  // namespace
}  // namespace ragdot::cpu::chains
