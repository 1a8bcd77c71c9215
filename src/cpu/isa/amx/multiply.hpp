// The AMX micro-kernel, over any provider of tile instructions: the hardware's, or the stand-in that tests run anywhere.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "cpu/isa/amx/visit.hpp"
#include "cpu/isa/avx512/pack.hpp"
#include "cpu/isa/avx512/store.hpp"
#include "cpu/isa/target.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

namespace ragdot::cpu::amx {
namespace {

/// TDPBF16PS pairs neighbours.
inline constexpr avx512::Pairing kNeighbours = {{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30},
                                                {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31}};

/// Steps that a block takes before the next block's turn. The rhs granules of so many, 2 KiB a step, stay in the L1 cache while
/// those of lhs pass through it, block by block.
inline constexpr std::int64_t kResidentSteps = 16;
/// The same where a block takes several stretches: sums of finished segments and acc are in the cache as well. What is left may
/// be more, rather than a few steps by themselves.
inline constexpr std::int64_t kResidentStepsOfStretches = 8;
inline constexpr std::int64_t kResidentStepsAtTheEnd = 12;

/// Consecutive steps of one piece.
struct Stretch {
  schedule::Piece elements;       // of the reduction axis
  std::int64_t panel_offset = 0;  // bytes, in the panel of a block
  std::int64_t steps = 0;
  bool begins = false;      // begins its segment: sums start at zero, else where they were left
  std::int64_t ended = -1;  // the segment's number within the job when the segment ends here
};

/// A block of sums and where its operands, sums and scales are.
struct Place {
  const std::byte* lhs = nullptr;
  const std::byte* rhs = nullptr;
  float* carried = nullptr;
  float* acc = nullptr;
  const float* row_scales = nullptr;
  const float* col_scales = nullptr;
  int rows = static_cast<int>(kBlock);  // kFewRows, one tile of rows or kBlock
  std::byte* out = nullptr;             // null: the sums go to acc
};

/// One call of multiply: walks blocks and stretches.
template <class Tiles, Sums kSums>
class Multiplier {
 public:
  Multiplier(const MultiplyJob& job, std::int64_t most_steps)
      : job_(job), scaled_(kSums == Sums::i32 || job.row_scales != nullptr) {
    std::int64_t step = 0;
    std::int64_t ended = 0;
    const std::int64_t unit = kSums == Sums::i32 ? avx512::I8Source::kStep : schedule::kChunk;
    for (const schedule::Piece& piece : job.pieces) {
      const std::int64_t steps = schedule::ceil_div(piece.depth(), unit);
      for (std::int64_t done = 0; done < steps; done += most_steps) {
        const std::int64_t taken = std::min(most_steps, steps - done);
        const bool ends = piece.last && done + taken == steps;
        const std::int64_t begin = piece.begin + done * unit;
        const schedule::Piece elements = {begin, std::min(begin + taken * unit, piece.end), true, true};
        stretches_[count_++] = {elements, step * kGranuleBytes, taken, piece.first && done == 0, ends && scaled_ ? ended : -1};
        step += taken;
      }
      if (piece.last) ++ended;
    }
    panel_bytes_ = step * kGranuleBytes;
    pend_nothing(rows_of(job.rows));
    if (job.rows <= kFewRows) Tiles::configure(kFewRows);
    if (job.store != nullptr) out_ = avx512::rows_of_out(*job.store);
  }

  /// Strips of 32 columns; in a strip, stretches that fit the L1 cache together; with those, all blocks of rows.
  void run() {
    for (std::int64_t col = 0; col < job_.cols; col += kBlock) {
      for (std::size_t first = 0; first < count_;) {
        const std::size_t last = last_resident(first);
        for (std::int64_t row = 0; row < job_.rows; row += kBlock) {
          const Place at = place(row, col);
          for (std::size_t s = first; s < last; ++s)
            visit(at, stretches_[s], at.rhs + stretches_[s].panel_offset, s + 1 < last && stretches_[s + 1].ended >= 0);
        }
        first = last;
      }
    }
    finish();
  }

  /// Without a panel of weights: a stretch of 32 columns is decoded into the L1 cache, the next one behind it, and then
  /// multiplied with all rows: its tiles are loaded when they have long been written.
  void run_packed(const PackJob& weights) {
    alignas(64) std::array<std::array<std::byte, kVisitSteps * kGranuleBytes>, 2> decoded;
    const std::size_t turns = static_cast<std::size_t>(schedule::ceil_div(job_.cols, kBlock)) * count_;
    const auto col_of = [&](std::size_t turn) { return static_cast<std::int64_t>(turn / count_) * kBlock; };
    PackJob part = weights;
    for (std::size_t turn = 0; turn <= turns; ++turn) {
      if (turn < turns) {
        part.outer = weights.outer + col_of(turn);
        part.count = std::min(kBlock, job_.cols - col_of(turn));
        part.pieces = {&stretches_[turn % count_].elements, 1};
        part.panel = decoded[turn % 2].data();
        avx512::pack<avx512::Role::rhs, kNeighbours>(part);
      }
      if (turn == 0) continue;
      const std::size_t last = turn - 1;
      for (std::int64_t row = 0; row < job_.rows; row += kBlock)
        visit(place(row, col_of(last)), stretches_[last % count_],
              decoded[(fault::on(fault::Id::amx_weights_of_next_turn) ? turn : last) % 2].data(), false);
    }
    finish();
  }

 private:
  /// Of a block, as many as tiles are set to and epilogues work on.
  static int rows_of(std::int64_t rows) {
    return rows <= kFewRows ? kFewRows : rows <= kTileRows ? kTileRows : static_cast<int>(kBlock);
  }

  void finish() {
    if (!fault::on(fault::Id::amx_last_block_unsettled)) flush(pending_.rows);
    if (job_.rows <= kFewRows && !fault::on(fault::Id::amx_tiles_left_at_few_rows)) Tiles::configure(kTileRows);
    if (job_.store == nullptr) return;
    const std::int64_t rows = job_.rows / kBlock * kBlock;
    const std::int64_t cols = job_.cols / kBlock * kBlock;
    if (rows < job_.rows) store_part(rows, 0, cols);
    if (cols < job_.cols && !fault::on(fault::Id::amx_column_tail_unstored)) store_part(0, cols, job_.cols);
    out_.finish();
  }

  /// Stores what lies behind the last whole blocks, from acc: columns [col, end) of the rows from `row` on.
  void store_part(std::int64_t row, std::int64_t col, std::int64_t end) {
    StoreJob part = job_.store->columns(col, end - col);
    part.acc += row * kBlock;
    part.out += row * part.out_row_bytes;
    part.rows -= row;
    avx512::store(part);
  }

  [[nodiscard]] Place place(std::int64_t row, std::int64_t col) const {
    const std::int64_t at = col * job_.strip_rows + row * kBlock;  // in acc and part
    Place p;
    p.lhs = job_.lhs_panel + (job_.row + row) / kBlock * panel_bytes_;
    p.rhs = job_.rhs_panel + col / kBlock * panel_bytes_;
    p.acc = job_.acc + at;
    p.carried = scaled_ ? reinterpret_cast<float*>(job_.part) + at : p.acc;
    p.row_scales = job_.row_scales == nullptr ? kOnes.data() : job_.row_scales + row;
    p.col_scales = job_.row_scales == nullptr ? kOnes.data() : job_.col_scales + col;
    p.rows = rows_of(job_.rows - row - (fault::on(fault::Id::amx_row_17_forgotten) ? 1 : 0));
    if (job_.store != nullptr && job_.rows - row >= kBlock && job_.cols - col >= kBlock)
      p.out = job_.store->out + row * out_.row_bytes + col * element_bytes(out_.format);
    return p;
  }

  /// Behind the last of the stretches that a block takes together, from `first` on.
  [[nodiscard]] std::size_t last_resident(std::size_t first) const {
    if (panel_bytes_ - stretches_[first].panel_offset <= kResidentStepsAtTheEnd * kGranuleBytes) return count_;
    std::size_t last = first;
    std::int64_t steps = 0;
    do {
      steps += stretches_[last++].steps;
    } while (last < count_ && steps + stretches_[last].steps <= kResidentStepsOfStretches);
    return last;
  }

  /// `ends_next`: the block's next visit follows, and ends a segment, too.
  [[gnu::always_inline]] void visit(const Place& place, const Stretch& stretch, const std::byte* rhs, bool ends_next) {
    if (place.rows != pending_.rows) flush(place.rows);
    with_pending([&](auto rows, auto settle) {
      const float* start = stretch.begins || fault::on(fault::Id::amx_carry_dropped) ? nullptr : place.carried;
      Visit<Tiles, kSums, decltype(rows)::value, decltype(settle)::value>(place.lhs + stretch.panel_offset, rhs, start,
                                                                          pending_, out_)
          .run(stretch.steps);
    });
    const bool out = place.out != nullptr && &stretch == &stretches_[count_ - 1];
    const bool ends = stretch.ended >= 0;
    const bool waits =
        ends && ends_next && waiting_ < pending_.earlier.size();  // for those behind it, to touch acc once for all
    pending_.out = place.out;
    pending_.acc = place.acc;
    pending_.settle = {out, 0, false};
    pending_.last = {ends || out ? scratch_[waits ? waiting_ + 1 : 0].data() : place.carried};
    if (!ends) return;
    const std::int64_t segment = fault::on(fault::Id::amx_col_scales_of_first_segment) ? 0 : stretch.ended;
    pending_.last.row_scales = place.row_scales + stretch.ended * job_.row_scales_stride;
    pending_.last.col_scales = place.col_scales + segment * job_.col_scales_stride;
    if (waits) {
      pending_.earlier[waiting_] = pending_.last;
      if (!fault::on(fault::Id::amx_waiting_segment_forgotten)) ++waiting_;
      return;
    }
    const std::size_t segments = std::exchange(waiting_, 0) + 1;
    const bool sets =
        (job_.first || fault::on(fault::Id::amx_later_tiles_set)) && static_cast<std::size_t>(stretch.ended) < segments;
    pending_.settle = {out, segments, !sets};
  }

  /// Calls `work` with the rows and the way of settling of what is pending, as constants.
  template <class Work>
  [[gnu::always_inline]] void with_pending(Work work) {
    const auto with_rows = [&](auto rows) {
      with_settle(
          pending_.settle, [&](auto settle) __attribute__((always_inline)) { work(rows, settle); },
          std::make_index_sequence<kSettles.size()>());
    };
    switch (pending_.rows) {
      case kFewRows: return with_rows(std::integral_constant<int, kFewRows>());
      case kTileRows: return with_rows(std::integral_constant<int, kTileRows>());
      default: return with_rows(std::integral_constant<int, kBlock>());
    }
  }

  /// Settles what is pending at once; what comes next has `next_rows`.
  void flush(int next_rows) {
    with_pending([&](auto rows, auto settle) {
      Visit<Tiles, kSums, decltype(rows)::value, decltype(settle)::value>(nullptr, nullptr, nullptr, pending_, out_)
          .settle_all();
    });
    pend_nothing(next_rows);
  }

  /// The next visit stores tiles of no worth where nothing is read.
  void pend_nothing(int rows) {
    pending_ = {};
    pending_.last.sums = scratch_[0].data();
    pending_.rows = rows;
  }

  static constexpr std::array<float, kBlock> kOnes = [] {
    std::array<float, kBlock> ones{};
    ones.fill(1.0F);
    return ones;
  }();
  static constexpr std::size_t kMostStretches = 128;  // 64 pieces, and a break every kVisitSteps of at most 128 steps

  const MultiplyJob& job_;
  const bool scaled_;
  std::int64_t panel_bytes_ = 0;  // of one block of 32 outer elements
  std::size_t count_ = 0;
  std::array<Stretch, kMostStretches> stretches_;
  Pending pending_;
  std::size_t waiting_ = 0;  // finished segments in pending_.earlier, whose sums are added together with the next one's
  avx512::OutRows out_;
  alignas(64) std::array<std::array<float, kBlockSums>, kMostSegments> scratch_;
};

template <class Tiles>
void multiply(const MultiplyJob& job) {
  if (job.arithmetic == Arithmetic::i8) {
    Multiplier<Tiles, Sums::i32>(job, kResidentSteps).run();
  } else {
    Multiplier<Tiles, Sums::f32>(job, kResidentSteps).run();
  }
}

template <class Tiles>
void multiply_packed(const MultiplyJob& job, const PackJob& weights) {
  if (job.arithmetic == Arithmetic::i8) {
    Multiplier<Tiles, Sums::i32>(job, kVisitSteps).run_packed(weights);
  } else {
    Multiplier<Tiles, Sums::f32>(job, kVisitSteps).run_packed(weights);
  }
}

}  // namespace
}  // namespace ragdot::cpu::amx

RAGDOT_TARGET_END
