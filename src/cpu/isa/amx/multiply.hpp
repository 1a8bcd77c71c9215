// The AMX micro-kernel, over any provider of tile instructions: the hardware's, or the stand-in that tests run anywhere.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cpu/isa/avx512/pack.hpp"
#include "cpu/isa/avx512/store.hpp"
#include "cpu/isa/target.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

namespace ragdot::cpu::amx {
namespace {

using avx512::kGranuleBytes;
using avx512::kRowBytes;
using avx512::kTileBytes;

/// Tile registers of one 32 x 32 block of sums, and of one step of its operands.
///   0 1      sums: rows 0..15 x columns 0..15, 16..31
///   2 3            rows 16..31
///   4, 5     lhs rows 0..15, 16..31
///   6, 7     rhs columns 0..15, 16..31                8 of 8
inline constexpr std::int64_t kBlock = 32;
static_assert(kBlock == avx512::kStripCols);
inline constexpr std::int64_t kBlockSums = kBlock * kBlock;
inline constexpr std::int64_t kSumsRowBytes = kBlock * sizeof(float);
inline constexpr int kTileRows = 16;
/// Calls with no more rows than these give the tiles of sums and lhs so many: the rest would be moved for nothing.
inline constexpr int kFewRows = 4;
/// Steps that a block takes before the next block's turn: its granules (2 KiB a step and side) and those of its neighbours in a
/// macro block stay in the L1 cache. Scaled segments are usually 128 deep.
inline constexpr std::int64_t kVisitSteps = 4;

/// TDPBF16PS pairs neighbours.
inline constexpr avx512::Pairing kNeighbours = {{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30},
                                                {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31}};

/// Consecutive steps of one piece.
struct Stretch {
  schedule::Piece elements;       // of the reduction axis
  std::int64_t panel_offset = 0;  // bytes, in the panel of a block
  std::int64_t steps = 0;
  bool begins = false;      // begins its segment: sums start at zero, else where they were left
  std::int64_t ended = -1;  // the segment's number within the job when the segment ends here
};

enum class Sums : std::int32_t { f32, i32 };

/// Where sums start: at zero, or where an earlier stretch of the segment left them.
enum class Start : std::int32_t { zero, carried };

/// What becomes of finished tiles: they are kept where a later stretch or the caller finds them, or they go to scratch and from
/// there, scaled, onto acc; the first segment sets acc. Final sums go to out from where the others would be kept, set or added:
/// memory takes them while the next block is multiplied.
enum class Settle : std::int32_t { keep, set, add, out_kept, out_set, out_added };

constexpr bool is_out(Settle settle) { return settle >= Settle::out_kept; }
constexpr bool is_scaled(Settle settle) { return settle != Settle::keep && settle != Settle::out_kept; }
constexpr bool adds(Settle settle) { return settle == Settle::add || settle == Settle::out_added; }

/// What is left to do for a block whose last product has been issued: its sums are still in the tile registers.
struct Pending {
  float* sums = nullptr;  // where the tiles go, rows kSumsRowBytes apart
  Settle settle = Settle::keep;
  float* acc = nullptr;
  const float* row_scales = nullptr;
  const float* col_scales = nullptr;
  int rows = static_cast<int>(kBlock);
  std::byte* out = nullptr;
};

template <Sums kSums>
__m512 load_sums(const float* at) {
  if constexpr (kSums == Sums::i32) return _mm512_cvtepi32_ps(_mm512_load_si512(at));
  return _mm512_load_ps(at);
}

/// How rows of out are written.
struct OutRows {
  std::int64_t row_bytes = 0;
  Format format = Format::f32;
  bool streamed = false;

  [[gnu::always_inline]] void write(const avx512::Sums& sums, std::byte* to) const {
    if (format == Format::f32) {
      streamed ? avx512::store_sums<Format::f32, Stores::streamed>(sums, to)
               : avx512::store_sums<Format::f32, Stores::cached>(sums, to);
    } else {
      streamed ? avx512::store_sums<Format::bf16, Stores::streamed>(sums, to)
               : avx512::store_sums<Format::bf16, Stores::cached>(sums, to);
    }
  }
};

/// One visit: the products of a block and a stretch, and between them what is pending of the visit before.
template <class Tiles, Sums kSums, int kRows, Start kStart, Settle kSettle>
class Visit {
 public:
  Visit(const std::byte* lhs, const std::byte* rhs, const float* start, const Pending& pending, const OutRows& out)
      : lhs_(lhs), rhs_(rhs), start_(start), pending_(pending), out_(out) {
    if constexpr (is_scaled(kSettle)) {
      col0_ = _mm512_loadu_ps(pending.col_scales);
      col1_ = _mm512_loadu_ps(pending.col_scales + 16);
    }
  }

  [[gnu::always_inline]] void run(std::int64_t steps) {  // out of line, scaled gmm is a seventh slower
    first_step();
    if (steps == kVisitSteps) {
      step<0, 2, 3, 3, 3>();
      step<11, 2, 3, 3, 3>();
      step<22, 2, 3, 3, 2>();
    } else {
      for (std::int64_t s = 1; s < steps; ++s) step<0, 0, 0, 0, 0>();
      all_rows();
    }
  }

  void settle_all() {
    settle_tile<0>();
    settle_tile<1>();
    settle_tile<2>();
    settle_tile<3>();
    all_rows();
  }

 private:
  static constexpr int kRowTiles = kRows > kTileRows ? 2 : 1;

  template <int kSum>
  static constexpr std::int64_t kPlace = kSum / 2 * 16 * kBlock + kSum % 2 * 16;  // of a tile within the sums of a block

  template <int kSum>
  [[gnu::always_inline]] void settle_tile() {
    if constexpr (kSum / 2 < kRowTiles) Tiles::template store<kSum>(pending_.sums + kPlace<kSum>, kSumsRowBytes);
  }

  template <int kSum>
  [[gnu::always_inline]] void product() {
    if constexpr (kSum / 2 >= kRowTiles) return;
    if constexpr (kSums == Sums::i32) {
      Tiles::template dot_i8<kSum, 4 + kSum / 2, 6 + kSum % 2>();
    } else {
      Tiles::template dot_bf16<kSum, 4 + kSum / 2, 6 + kSum % 2>();
    }
  }

  template <int kSum>
  [[gnu::always_inline]] void first_product() {
    settle_tile<kSum>();
    if constexpr (kSum / 2 < kRowTiles && kStart == Start::zero) Tiles::template zero<kSum>();
    if constexpr (kSum / 2 < kRowTiles && kStart == Start::carried)
      Tiles::template load<kSum>(start_ + kPlace<kSum>, kSumsRowBytes);
    product<kSum>();
  }

  /// A store of sums waits for the last product into its tile. Stored one by one between the next block's first products they
  /// cost nothing; stored together they would drain the tile unit (52 cycles a block, measured).
  [[gnu::always_inline]] void first_step() {
    Tiles::template load<4>(lhs_, kRowBytes);
    Tiles::template load<6>(rhs_, kRowBytes);
    first_product<0>();
    Tiles::template load<7>(rhs_ + kTileBytes, kRowBytes);
    first_product<1>();
    if constexpr (kRowTiles == 2) Tiles::template load<5>(lhs_ + kTileBytes, kRowBytes);
    first_product<2>();
    first_product<3>();
  }

  /// A further step, with kRows0.. of the pending rows from kRow on behind its products (half of them with one tile of rows).
  template <int kRow, int kRows0, int kRows1, int kRows2, int kRows3>
  [[gnu::always_inline]] void step() {
    lhs_ += kGranuleBytes;
    rhs_ += kGranuleBytes;
    Tiles::template load<4>(lhs_, kRowBytes);
    Tiles::template load<6>(rhs_, kRowBytes);
    product<0>();
    rows<kRow, kRow + kRows0>();
    Tiles::template load<7>(rhs_ + kTileBytes, kRowBytes);
    product<1>();
    rows<kRow + kRows0, kRow + kRows0 + kRows1>();
    if constexpr (kRowTiles == 2) Tiles::template load<5>(lhs_ + kTileBytes, kRowBytes);
    product<2>();
    rows<kRow + kRows0 + kRows1, kRow + kRows0 + kRows1 + kRows2>();
    product<3>();
    rows<kRow + kRows0 + kRows1 + kRows2, kRow + kRows0 + kRows1 + kRows2 + kRows3>();
  }

  /// Scales and adds pending rows [kFirst, kLast), as far as the block has them.
  template <int kFirst, int kLast>
  [[gnu::always_inline]] void rows() {
    if constexpr (kSettle != Settle::keep && kFirst < kLast && kFirst < kRows) {
      row(kFirst);
      rows<kFirst + 1, kLast>();
    }
  }

  [[gnu::always_inline]] void all_rows() {
    if constexpr (kSettle != Settle::keep) {
      for (int r = 0; r < kRows; ++r) row(r);
    }
  }

  [[gnu::always_inline]] void row(int r) {
    float* acc = nullptr;
    if constexpr (adds(kSettle) || !is_out(kSettle)) acc = pending_.acc + r * kBlock;
    const float* sums = pending_.sums + r * kBlock;
    __m512 low = load_sums<kSums>(sums);
    __m512 high = load_sums<kSums>(sums + 16);
    if constexpr (is_scaled(kSettle)) {
      const __m512 scale = _mm512_set1_ps(pending_.row_scales[r]);
      low = _mm512_fmadd_ps(_mm512_mul_ps(scale, col0_), low, adds(kSettle) ? _mm512_loadu_ps(acc) : _mm512_setzero_ps());
      high =
          _mm512_fmadd_ps(_mm512_mul_ps(scale, col1_), high, adds(kSettle) ? _mm512_loadu_ps(acc + 16) : _mm512_setzero_ps());
    }
    if constexpr (is_out(kSettle)) return out_.write(avx512::Sums(low, high), pending_.out + r * out_.row_bytes);
    _mm512_storeu_ps(acc, low);
    _mm512_storeu_ps(acc + 16, high);
  }

  const std::byte* lhs_;
  const std::byte* rhs_;
  const float* start_;
  const Pending pending_;
  const OutRows& out_;
  __m512 col0_;
  __m512 col1_;
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
  explicit Multiplier(const MultiplyJob& job) : job_(job), scaled_(kSums == Sums::i32 || job.row_scales != nullptr) {
    std::int64_t step = 0;
    std::int64_t ended = 0;
    const std::int64_t unit = kSums == Sums::i32 ? avx512::I8Source::kStep : schedule::kChunk;
    for (const schedule::Piece& piece : job.pieces) {
      const std::int64_t steps = schedule::ceil_div(piece.depth(), unit);
      for (std::int64_t done = 0; done < steps; done += kVisitSteps) {
        const std::int64_t taken = std::min(kVisitSteps, steps - done);
        const bool ends = piece.last && done + taken == steps;
        const std::int64_t begin = piece.begin + done * unit;
        const schedule::Piece elements = {begin, std::min(begin + taken * unit, piece.end), true, true};
        stretches_[count_++] = {elements, step * kGranuleBytes, taken, piece.first && done == 0, ends && scaled_ ? ended : -1};
        step += taken;
      }
      if (piece.last) ++ended;
    }
    panel_bytes_ = step * kGranuleBytes;
    pending_.sums = scratch_.data();  // nothing of worth
    pending_.rows = rows_of(job.rows);
    if (job.rows <= kFewRows) Tiles::configure(kFewRows);
    if (job.store != nullptr) out_ = {job.store->out_row_bytes, job.store->format, avx512::streams(*job.store)};
  }

  /// Macro blocks of 2 x 2 blocks: all stretches of one before the next.
  void run() {
    for (std::int64_t col = 0; col < job_.cols; col += 2 * kBlock) {
      for (std::int64_t row = 0; row < job_.rows; row += 2 * kBlock) macro(row, col);
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
              decoded[(fault::on(fault::Id::amx_weights_of_next_turn) ? turn : last) % 2].data());
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
    if (rows < job_.rows) store_part(rows, 0);
    if (cols < job_.cols && !fault::on(fault::Id::amx_column_tail_unstored)) store_part(0, cols);
    if (out_.streamed) _mm_sfence();
  }

  /// Stores what lies behind the last whole blocks, from acc: rows from `row` on or columns from `col` on.
  void store_part(std::int64_t row, std::int64_t col) {
    StoreJob part = *job_.store;
    part.acc += col * job_.strip_rows + row * kBlock;
    part.out += row * part.out_row_bytes + col * element_bytes(part.format);
    part.rows -= row;
    part.cols -= col;
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

  void macro(std::int64_t row, std::int64_t col) {
    std::array<Place, 4> places;
    std::size_t count = 0;
    const bool two_rows = job_.rows - row > kBlock;
    const bool two_cols = job_.cols - col > kBlock;
    places[count++] = place(row, col);
    if (two_rows) places[count++] = place(row + kBlock, col);
    if (two_rows && two_cols) places[count++] = place(row + kBlock, col + kBlock);
    if (two_cols) places[count++] = place(row, col + kBlock);
    for (std::size_t s = 0; s < count_; ++s) {
      for (std::size_t i = 0; i < count; ++i) visit(places[i], stretches_[s], places[i].rhs + stretches_[s].panel_offset);
    }
  }

  [[gnu::always_inline]] void visit(const Place& place, const Stretch& stretch, const std::byte* rhs) {
    if (place.rows != pending_.rows) flush(place.rows);
    with_pending([&](auto rows, auto settle) {
      constexpr int kRows = decltype(rows)::value;
      constexpr Settle kSettle = decltype(settle)::value;
      const std::byte* lhs = place.lhs + stretch.panel_offset;
      if (stretch.begins || fault::on(fault::Id::amx_carry_dropped)) {
        Visit<Tiles, kSums, kRows, Start::zero, kSettle>(lhs, rhs, nullptr, pending_, out_).run(stretch.steps);
      } else {
        Visit<Tiles, kSums, kRows, Start::carried, kSettle>(lhs, rhs, place.carried, pending_, out_).run(stretch.steps);
      }
    });
    const bool out = place.out != nullptr && &stretch == &stretches_[count_ - 1];
    pending_.out = place.out;
    pending_.settle = out ? Settle::out_kept : Settle::keep;
    pending_.sums = out ? scratch_.data() : place.carried;
    if (stretch.ended < 0) return;
    const bool sets = (job_.first || fault::on(fault::Id::amx_later_tiles_set)) && stretch.ended == 0;
    pending_.settle = out ? (sets ? Settle::out_set : Settle::out_added) : (sets ? Settle::set : Settle::add);
    pending_.sums = scratch_.data();
    pending_.acc = place.acc;
    pending_.row_scales = place.row_scales + stretch.ended * job_.row_scales_stride;
    const std::int64_t segment = fault::on(fault::Id::amx_col_scales_of_first_segment) ? 0 : stretch.ended;
    pending_.col_scales = place.col_scales + segment * job_.col_scales_stride;
  }

  /// Calls `work` with the rows and the way of settling of what is pending, as constants.
  template <class Work>
  [[gnu::always_inline]] void with_pending(Work work) {
    const auto with_settle = [&](auto rows) {
      switch (pending_.settle) {
        case Settle::keep: return work(rows, std::integral_constant<Settle, Settle::keep>());
        case Settle::set: return work(rows, std::integral_constant<Settle, Settle::set>());
        case Settle::add: return work(rows, std::integral_constant<Settle, Settle::add>());
        case Settle::out_kept: return work(rows, std::integral_constant<Settle, Settle::out_kept>());
        case Settle::out_set: return work(rows, std::integral_constant<Settle, Settle::out_set>());
        case Settle::out_added: return work(rows, std::integral_constant<Settle, Settle::out_added>());
      }
    };
    switch (pending_.rows) {
      case kFewRows: return with_settle(std::integral_constant<int, kFewRows>());
      case kTileRows: return with_settle(std::integral_constant<int, kTileRows>());
      default: return with_settle(std::integral_constant<int, kBlock>());
    }
  }

  /// Settles what is pending at once; what comes next has `next_rows`.
  void flush(int next_rows) {
    with_pending([&](auto rows, auto settle) {
      Visit<Tiles, kSums, decltype(rows)::value, Start::zero, decltype(settle)::value>(nullptr, nullptr, nullptr, pending_,
                                                                                       out_)
          .settle_all();
    });
    pending_ = {scratch_.data(), Settle::keep, nullptr, nullptr, nullptr, next_rows, nullptr};
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
  OutRows out_;
  alignas(64) std::array<float, kBlockSums> scratch_;  // one: a second would push panels out of the L1 cache
};

template <class Tiles>
void multiply(const MultiplyJob& job) {
  if (job.arithmetic == Arithmetic::i8) {
    Multiplier<Tiles, Sums::i32>(job).run();
  } else {
    Multiplier<Tiles, Sums::f32>(job).run();
  }
}

template <class Tiles>
void multiply_packed(const MultiplyJob& job, const PackJob& weights) {
  if (job.arithmetic == Arithmetic::i8) {
    Multiplier<Tiles, Sums::i32>(job).run_packed(weights);
  } else {
    Multiplier<Tiles, Sums::f32>(job).run_packed(weights);
  }
}

}  // namespace
}  // namespace ragdot::cpu::amx

RAGDOT_TARGET_END
