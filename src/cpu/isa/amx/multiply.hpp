// The AMX micro-kernel, over any provider of tile instructions: the hardware's, or the stand-in that tests run anywhere.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/isa/avx512/pack.hpp"
#include "cpu/isa/target.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

namespace ragdot::cpu::amx {
namespace {

using avx512::kGranuleBytes;
using avx512::kTileBytes;

/// Tile registers of one 32 x 32 block of sums, and of one step of its operands.
///   0 1      sums: rows 0..15 x columns 0..15, 16..31
///   2 3            rows 16..31
///   4, 5     lhs rows 0..15, 16..31
///   6, 7     rhs columns 0..15, 16..31                8 of 8
inline constexpr std::int64_t kBlock = 32;
inline constexpr std::int64_t kBlockSums = kBlock * kBlock;
inline constexpr std::int64_t kSumsRowBytes = kBlock * sizeof(float);
/// Steps that a block takes before the next block's turn: its granules (2 KiB a step and side) and those of its neighbours in a
/// macro block stay in the L1 cache.
inline constexpr std::int64_t kVisitSteps = 4;

/// TDPBF16PS pairs neighbours.
inline constexpr avx512::Pairing kNeighbours = {{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30},
                                                {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31}};

/// Consecutive steps of one piece.
struct Stretch {
  std::int64_t first_step = 0;  // in the panels
  std::int64_t steps = 0;
  bool begins = false;      // begins its segment: sums start at zero, else where they were left
  std::int64_t ended = -1;  // the segment's number within the job when the segment ends here
};

/// What is left to do for a block whose last product has been issued: its sums are still in the tile registers.
struct Pending {
  float* sums = nullptr;  // where the tiles go, rows kSumsRowBytes apart; null: nothing is pending
  float* acc = nullptr;   // then acc = fma(scales, sums, acc); null: they stay where they are
  bool sets = false;      // acc = scales * sums
  const float* row_scales = nullptr;
  const float* col_scales = nullptr;
};

enum class Sums : std::int32_t { f32, i32 };

template <Sums kSums>
__m512 load_sums(const float* at) {
  if constexpr (kSums == Sums::i32) return _mm512_cvtepi32_ps(_mm512_load_si512(at));
  return _mm512_load_ps(at);
}

/// Scales and adds rows [first, first + count) of pending sums.
template <Sums kSums>
void add_rows(const Pending& p, int first, int count) {
  const __m512 col0 = _mm512_loadu_ps(p.col_scales);
  const __m512 col1 = _mm512_loadu_ps(p.col_scales + 16);
  for (int r = first; r < first + count; ++r) {
    const __m512 row = _mm512_set1_ps(p.row_scales[r]);
    float* acc = p.acc + r * kBlock;
    const float* sums = p.sums + r * kBlock;
    const __m512 before0 = p.sets ? _mm512_setzero_ps() : _mm512_loadu_ps(acc);
    const __m512 before1 = p.sets ? _mm512_setzero_ps() : _mm512_loadu_ps(acc + 16);
    _mm512_storeu_ps(acc, _mm512_fmadd_ps(_mm512_mul_ps(row, col0), load_sums<kSums>(sums), before0));
    _mm512_storeu_ps(acc + 16, _mm512_fmadd_ps(_mm512_mul_ps(row, col1), load_sums<kSums>(sums + 16), before1));
  }
}

template <class Tiles, Sums kSums>
class Multiplier {
 public:
  explicit Multiplier(const MultiplyJob& job) : job_(job) {
    std::int64_t step = 0;
    std::int64_t ended = 0;
    const std::int64_t unit = kSums == Sums::i32 ? avx512::I8Source::kStep : schedule::kChunk;
    for (const schedule::Piece& piece : job.pieces) {
      const std::int64_t steps = schedule::ceil_div(piece.depth(), unit);
      for (std::int64_t done = 0; done < steps; done += kVisitSteps) {
        const std::int64_t taken = std::min(kVisitSteps, steps - done);
        const bool ends = piece.last && done + taken == steps;
        stretches_[count_++] = {step, taken, piece.first && done == 0, ends ? ended : -1};
        step += taken;
      }
      if (piece.last) ++ended;
    }
    panel_bytes_ = step * kGranuleBytes;
  }

  /// Macro blocks of 2 x 2 blocks: all stretches of one before the next.
  void run() {
    for (std::int64_t col = 0; col < job_.cols; col += 2 * kBlock) {
      for (std::int64_t row = 0; row < job_.rows; row += 2 * kBlock) macro(row, col);
    }
    flush();
  }

 private:
  void macro(std::int64_t row, std::int64_t col) {
    const bool two_rows = job_.rows - row > kBlock;
    const bool two_cols = job_.cols - col > kBlock;
    for (std::size_t i = 0; i < count_; ++i) {
      visit(row, col, stretches_[i]);
      if (two_rows) visit(row + kBlock, col, stretches_[i]);
      if (two_rows && two_cols) visit(row + kBlock, col + kBlock, stretches_[i]);
      if (two_cols) visit(row, col + kBlock, stretches_[i]);
    }
  }

  /// Issues the products of one block and stretch; what is pending of the visit before goes on between them.
  void visit(std::int64_t row, std::int64_t col, const Stretch& stretch) {
    const std::int64_t at = col * job_.strip_rows + row * kBlock;  // in acc and part
    const bool scaled = kSums == Sums::i32 || job_.row_scales != nullptr;
    float* carried = scaled ? reinterpret_cast<float*>(job_.part) + at : job_.acc + at;
    const std::byte* lhs = job_.lhs_panel + row / kBlock * panel_bytes_ + stretch.first_step * kGranuleBytes;
    const std::byte* rhs = job_.rhs_panel + col / kBlock * panel_bytes_ + stretch.first_step * kGranuleBytes;
    const float* start = stretch.begins ? nullptr : carried;
    if (job_.rows - row > kBlock / 2) {
      products<2>(lhs, rhs, start, stretch.steps);
    } else {
      products<1>(lhs, rhs, start, stretch.steps);
    }
    row_tiles_ = job_.rows - row > kBlock / 2 ? 2 : 1;
    pending_ = {carried, nullptr, false, nullptr, nullptr};
    if (!scaled || stretch.ended < 0) return;
    pending_.sums = scratch_.data() + (turn_ ^= kBlockSums);
    pending_.acc = job_.acc + at;
    pending_.sets = job_.first && stretch.ended == 0;
    pending_.row_scales =
        job_.row_scales == nullptr ? kOnes.data() : job_.row_scales + stretch.ended * job_.row_scales_stride + row;
    pending_.col_scales =
        job_.row_scales == nullptr ? kOnes.data() : job_.col_scales + stretch.ended * job_.col_scales_stride + col;
  }

  template <int kSum>
  void settle_tile() {
    if (pending_.sums != nullptr && kSum / 2 < row_tiles_) {
      Tiles::template store<kSum>(pending_.sums + kSum / 2 * 16 * kBlock + kSum % 2 * 16, kSumsRowBytes);
    }
  }

  template <int kSum>
  void start_tile(const float* start) {
    if (start == nullptr) {
      Tiles::template zero<kSum>();
    } else {
      Tiles::template load<kSum>(start + kSum / 2 * 16 * kBlock + kSum % 2 * 16, kSumsRowBytes);
    }
  }

  template <int kSum>
  void product() {
    if constexpr (kSums == Sums::i32) {
      Tiles::template dot_i8<kSum, 4 + kSum / 2, 6 + kSum % 2>();
    } else {
      Tiles::template dot_bf16<kSum, 4 + kSum / 2, 6 + kSum % 2>();
    }
  }

  /// Rows that are pending are added between products, as many as keep the vector units busy while a tile product runs.
  void some_rows(int count) {
    if (pending_.acc == nullptr) return;
    count = std::min(count, 16 * row_tiles_ - rows_done_);
    if (count > 0) add_rows<kSums>(pending_, rows_done_, count);
    rows_done_ += count;
  }

  /// A store of sums waits for the last product into its tile. Stored one by one between the next block's first products they
  /// cost nothing; stored together they would drain the tile unit (52 cycles a block, measured).
  template <int kRowTiles>
  void products(const std::byte* lhs, const std::byte* rhs, const float* start, std::int64_t steps) {
    rows_done_ = 0;
    Tiles::template load<4>(lhs, 64);
    Tiles::template load<6>(rhs, 64);
    settle_tile<0>();
    start_tile<0>(start);
    product<0>();
    Tiles::template load<7>(rhs + kTileBytes, 64);
    settle_tile<1>();
    start_tile<1>(start);
    product<1>();
    if constexpr (kRowTiles == 2) Tiles::template load<5>(lhs + kTileBytes, 64);
    settle_tile<2>();
    if constexpr (kRowTiles == 2) start_tile<2>(start);
    if constexpr (kRowTiles == 2) product<2>();
    settle_tile<3>();
    if constexpr (kRowTiles == 2) start_tile<3>(start);
    if constexpr (kRowTiles == 2) product<3>();
    for (std::int64_t s = 1; s < steps; ++s) {
      lhs += kGranuleBytes;
      rhs += kGranuleBytes;
      Tiles::template load<4>(lhs, 64);
      Tiles::template load<6>(rhs, 64);
      product<0>();
      some_rows(3);
      Tiles::template load<7>(rhs + kTileBytes, 64);
      product<1>();
      some_rows(3);
      if constexpr (kRowTiles == 2) {
        Tiles::template load<5>(lhs + kTileBytes, 64);
        product<2>();
        some_rows(3);
        product<3>();
        some_rows(2);
      }
    }
    some_rows(static_cast<int>(kBlock));
  }

  void flush() {
    settle_tile<0>();
    settle_tile<1>();
    settle_tile<2>();
    settle_tile<3>();
    rows_done_ = 0;
    some_rows(static_cast<int>(kBlock));
  }

  static constexpr std::array<float, kBlock> kOnes = [] {
    std::array<float, kBlock> ones{};
    ones.fill(1.0F);
    return ones;
  }();
  static constexpr std::size_t kMostStretches = 128;  // 64 pieces, and a break every kVisitSteps of at most 32 steps

  const MultiplyJob& job_;
  std::int64_t panel_bytes_ = 0;  // of one block of 32 outer elements
  std::size_t count_ = 0;
  std::array<Stretch, kMostStretches> stretches_;
  Pending pending_;
  int row_tiles_ = 2;  // of the pending block
  int rows_done_ = 0;
  std::int64_t turn_ = 0;
  alignas(64) std::array<float, 2 * kBlockSums> scratch_;
};

template <class Tiles>
void multiply(const MultiplyJob& job) {
  if (job.arithmetic == Arithmetic::i8) {
    Multiplier<Tiles, Sums::i32>(job).run();
  } else {
    Multiplier<Tiles, Sums::f32>(job).run();
  }
}

}  // namespace
}  // namespace ragdot::cpu::amx

RAGDOT_TARGET_END
