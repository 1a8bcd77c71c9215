// The loops of the vector kernels: register blocks of even and odd chains over two panels, whatever the vectors are.
// A kernel includes this file inside its target region, behind all other includes, so that the templates get its instructions.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/isa/chains/fetch.hpp"
#include "cpu/isa/chains/panels.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"

namespace ragdot::cpu::chains {
namespace {

/// Register block: Chain::kBlockRows rows x 2 vectors, with p where there is room for it. 512 bits, 4 x 32 outputs:
///   16 chains: 8 even, 8 odd      8 p      2 rhs      1 lhs, spread over the lanes      27 of 32
/// Integers take one chain, 6 x 32 outputs: 12 chains, 12 p, 2 rhs, 1 lhs. With 16 registers (256 bits: 6 x 16 outputs) the
/// even chains of a chunk run first and wait on the stack for the odd ones:
///   12 chains                     2 rhs      1 lhs                                      15 of 16
inline constexpr int kMostRows = 6;
/// Rows and columns of one multiplication.
inline constexpr std::int64_t kInnerRows = 256;
inline constexpr std::int64_t kInnerCols = 8 * kStripCols;
/// What a block reads of the rhs panel before the next block's turn stays in the L1 cache.
inline constexpr std::int64_t kVisitBytes = 16 << 10;

/// What all register blocks of a strip have in common in one turn.
struct Turn {
  const std::byte* lhs_panel = nullptr;
  std::int64_t panel_depth = 0;  // of the panels, in their units of depth
  std::int64_t at = 0;           // in the panels, in their units of depth
  std::int64_t row = 0;          // of the lhs panel, where the blocks' rows start
  const std::byte* rhs = nullptr;
  std::int64_t depth = 0;    // elements; starts at a chunk
  float* carried = nullptr;  // the unfinished segment, rows kStripCols apart
  bool begins = false;       // begins its segment: nothing is carried yet
  float* acc = nullptr;      // ends its segment: where it is added; null: it does not end, or is not scaled
  bool sets = false;         // acc holds nothing yet
  const float* row_scales = nullptr;
  const float* col_scales = nullptr;
  std::byte* out = nullptr;  // of the strip, where its sums are final and it is whole, else null
};

template <class Chain, int kRows>
using Sums = typename Chain::Vector[kRows][2];

/// sums += column `at` of the lhs rows times one row of the rhs panel.
template <class Chain, int kRows>
[[gnu::always_inline]] inline void step(const std::byte* const (&lhs)[kRows], std::int64_t at, const std::byte* rhs,
                                        Sums<Chain, kRows>& sums) {
  const auto b0 = Chain::load(rhs);
  const auto b1 = Chain::load(rhs + Chain::Panels::kVectorBytes);
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
    const auto a = Chain::spread(lhs[r] + at);
    sums[r][0] = Chain::dot(sums[r][0], a, b0);
    sums[r][1] = Chain::dot(sums[r][1], a, b1);
  }
}

template <class Chain, int kRows>
[[gnu::always_inline]] inline void fill(Sums<Chain, kRows>& sums, typename Chain::Vector value) {
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = value;
}

/// Rows kStripCols apart.
template <class Chain, int kRows>
[[gnu::always_inline]] inline void load(Sums<Chain, kRows>& sums, const float* from) {
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r, from += kStripCols) {
    sums[r][0] = Chain::load(from);
    sums[r][1] = Chain::load(from + Chain::kLanes);
  }
}

/// The chains of one chunk of `steps` panel rows; `at` is its byte in the lhs rows.
template <class Chain, int kRows>
[[gnu::always_inline]] inline void run_chains(const std::byte* const (&lhs)[kRows], std::int64_t at, const std::byte* rhs,
                                              std::int64_t steps, Sums<Chain, kRows>& even, Sums<Chain, kRows>& odd) {
  constexpr std::int64_t kRow = Chain::Panels::kRowBytes;
  constexpr bool kTogether = 6 * kRows + 3 <= Chain::kRegisters;
  fill<Chain, kRows>(even, Chain::zero());
  fill<Chain, kRows>(odd, Chain::zero());
  std::int64_t i = 0;
  if constexpr (Chain::kIntegers) {  // one chain does: its sums are exact in any order
    for (; i < steps; ++i) step<Chain, kRows>(lhs, at + 4 * i, rhs + i * kRow, even);
  } else if constexpr (kTogether) {
    for (; i + 1 < steps; i += 2) {
      step<Chain, kRows>(lhs, at + 4 * i, rhs + i * kRow, even);
      step<Chain, kRows>(lhs, at + 4 * i + 4, rhs + (i + 1) * kRow, odd);
    }
    auto& last = fault::on(fault::Id::avx512_last_even_in_odd_chain) ? odd : even;
    if (i < steps) step<Chain, kRows>(lhs, at + 4 * i, rhs + i * kRow, last);
  } else {
    for (; i < steps; i += 2) step<Chain, kRows>(lhs, at + 4 * i, rhs + i * kRow, even);
    for (i = 1; i < steps; i += 2) step<Chain, kRows>(lhs, at + 4 * i, rhs + i * kRow, odd);
  }
}

/// p += e + o for each chunk of the turn, for the 2 vectors of columns that start at `col`.
template <class Chain, int kRows>
[[gnu::always_inline]] inline void add_chunks(const Turn& turn, std::int64_t row, std::int64_t col, Sums<Chain, kRows>& p) {
  using Panels = typename Chain::Panels;
  // Sums of integers are exact in any order: the whole turn is one chunk.
  const std::int64_t chunk = Chain::kIntegers ? turn.depth : schedule::kChunk;
  const std::byte* lhs[kRows];
  for (int r = 0; r < kRows; ++r) lhs[r] = Panels::lhs_row(turn.lhs_panel, turn.panel_depth, turn.row + row + r, turn.at);
  const std::byte* rhs = turn.rhs + col * 4;
  std::int64_t at = 0;
  for (std::int64_t left = turn.depth; left > 0; left -= chunk) {
    Sums<Chain, kRows> even;
    Sums<Chain, kRows> odd;
    run_chains<Chain, kRows>(lhs, at, rhs, Panels::steps(std::min(chunk, left)), even, odd);
    at += Panels::kLhsChunkBytes;
    rhs += Panels::kRhsChunkBytes;
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      p[r][0] = Chain::add(p[r][0], Chain::add(even[r][0], odd[r][0]));
      p[r][1] = Chain::add(p[r][1], Chain::add(even[r][1], odd[r][1]));
    }
  }
}

/// Sums to out where they are final, else to `to`. kFinal: whether they ever are.
template <class Lanes, int kRows, bool kFinal, class Out>
[[gnu::always_inline]] inline void put(const Turn& turn, const Out& out, std::int64_t row, float* to,
                                       const Sums<Lanes, kRows>& sums) {
  if constexpr (kFinal) {
    if (turn.out != nullptr) {
      std::byte* line = turn.out + row * out.row_bytes;
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r, line += out.row_bytes) out.write(typename Out::Line(sums[r][0], sums[r][1]), line);
      return;
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r, to += kStripCols) {
    Lanes::store(to, sums[r][0]);
    Lanes::store(to + Lanes::kLanes, sums[r][1]);
  }
}

/// sums = fma(row scale * column scale, p, acc).
template <class Chain, int kRows>
[[gnu::always_inline]] inline void end_segment(const Turn& turn, std::int64_t row, std::int64_t col,
                                               const Sums<Chain, kRows>& p, Sums<typename Chain::Floats, kRows>& sums) {
  using Floats = typename Chain::Floats;
  const auto col_scale0 = Floats::load(turn.col_scales + col);
  const auto col_scale1 = Floats::load(turn.col_scales + col + Floats::kLanes);
  const float* row_scales = turn.row_scales + row;
  turn.sets ? fill<Floats, kRows>(sums, Floats::zero()) : load<Floats, kRows>(sums, turn.acc + row * kStripCols + col);
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
    const auto row_scale = Floats::spread(row_scales + r);
    sums[r][0] = Floats::fma(Floats::mul(row_scale, col_scale0), Chain::as_floats(p[r][0]), sums[r][0]);
    sums[r][1] = Floats::fma(Floats::mul(row_scale, col_scale1), Chain::as_floats(p[r][1]), sums[r][1]);
  }
}

/// One register block's rows, from `row` of the turn on.
template <class Chain, int kRows>
void visit_block(const Turn& turn, const typename Chain::Floats::Out& out, std::int64_t row) {
  using Floats = typename Chain::Floats;
  for (std::int64_t col = 0; col < kStripCols; col += 2 * Chain::kLanes) {
    const std::int64_t at = row * kStripCols + col;
    Sums<Chain, kRows> p;
    const bool nothing = turn.begins || fault::on(fault::Id::chains_carry_dropped);
    nothing ? fill<Chain, kRows>(p, Chain::nothing()) : load<Chain, kRows>(p, turn.carried + at);
    add_chunks<Chain, kRows>(turn, row, col, p);
    if (turn.acc != nullptr) {
      Sums<Floats, kRows> sums;
      end_segment<Chain, kRows>(turn, row, col, p, sums);
      put<Floats, kRows, Floats::kStores>(turn, out, row, turn.acc + at, sums);
    } else {
      put<Chain, kRows, Floats::kStores && !Chain::kIntegers>(turn, out, row, turn.carried + at, p);
    }
  }
}

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

/// Consecutive chunks of one piece.
struct Stretch {
  std::int64_t at = 0;     // in the panels, in their units of depth
  std::int64_t depth = 0;  // elements
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

/// A function for each number of rows, from 1 on.
template <class Chain>
constexpr auto visits() {
  return []<std::size_t... kLess>(std::index_sequence<kLess...>) {
    return std::array{visit_block<Chain, static_cast<int>(kLess) + 1>...};
  }(std::make_index_sequence<Chain::kBlockRows>());
}
template <class Chain>
inline constexpr auto kVisits = visits<Chain>();
template <class Chain, RowScales kS>
inline constexpr std::array kRuns = {run_segments<Chain, 1, kS>, run_segments<Chain, 2, kS>, run_segments<Chain, 3, kS>,
                                     run_segments<Chain, 4, kS>, run_segments<Chain, 5, kS>, run_segments<Chain, 6, kS>};

template <class Chain>
class Multiplier {
 public:
  explicit Multiplier(const MultiplyJob& job) : job_(job), scaled_(Chain::kIntegers || job.row_scales != nullptr) {
    std::int64_t turns = 0;
    for (const schedule::Piece& piece : job.pieces) {
      depth_ += Panels::units(piece.depth());
      turns += schedule::ceil_div(piece.depth(), kMost);
    }
    const std::int64_t blocks = schedule::ceil_div(job.rows, Chain::kBlockRows) * schedule::ceil_div(job.cols, kStripCols);
    fetcher_ = {job.ahead, turns * blocks};
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
  using Panels = typename Chain::Panels;
  using Floats = typename Chain::Floats;
  static constexpr std::int64_t kMost = kVisitBytes / Panels::kRhsChunkBytes * schedule::kChunk;
  static constexpr std::size_t kMostTurns = 4;

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
    Stretch stretch{at, 0, false, -1};
    for (std::int64_t done = 0; done < piece.depth(); done += kMost) {
      stretch.depth = std::min(kMost, piece.depth() - done);
      stretch.begins = piece.first && done == 0;
      const bool ends = done + stretch.depth == piece.depth();
      stretch.ended = piece.last && ends ? ended : -1;
      stretch.last = ends && &piece == &job_.pieces.back();
      if (count_ > 0 && (count_ == kMostTurns || taken_ + stretch.depth > kMost)) take_turns();
      pending_[count_++] = stretch;
      taken_ += stretch.depth;
      stretch.at += Panels::units(stretch.depth);
    }
  }

  void take_turns() {
    if (count_ == 0) return;
    std::array<Turn, kMostTurns> turns;
    for (std::int64_t col = 0; col < job_.cols; col += kStripCols) {
      for (std::size_t i = 0; i < count_; ++i) turns[i] = turn_of(pending_[i], col);
      for_row_blocks(job_.rows, Chain::kBlockRows, [&](std::int64_t row, std::int64_t rows) {
        for (std::size_t i = 0; i < count_; ++i) {
          fetcher_.step();
          kVisits<Chain>[static_cast<std::size_t>(rows - 1)](turns[i], out_, row);
        }
      });
    }
    stored_ = job_.store != nullptr && pending_[count_ - 1].last ? job_.cols / kStripCols * kStripCols : 0;
    count_ = 0;
    taken_ = 0;
  }

  Turn turn_of(const Stretch& stretch, std::int64_t col) const {
    const std::int64_t sums = col * job_.strip_rows;  // in acc and part
    Turn turn;
    turn.lhs_panel = job_.lhs_panel;
    turn.panel_depth = depth_;
    turn.at = stretch.at;
    turn.row = job_.row;
    turn.rhs = Panels::rhs_strip(job_.rhs_panel, depth_, col, stretch.at);
    turn.depth = stretch.depth;
    turn.carried = scaled_ ? reinterpret_cast<float*>(job_.part) + sums : job_.acc + sums;
    turn.begins = stretch.begins;
    if (job_.store != nullptr && stretch.last && job_.cols - col >= kStripCols)
      turn.out = job_.store->out + col * element_bytes(job_.store->format);
    if (!scaled_ || stretch.ended < 0) return turn;
    turn.acc = job_.acc + sums;
    turn.sets = job_.first && stretch.ended == 0;
    const bool given = job_.row_scales != nullptr;
    turn.row_scales = given ? job_.row_scales + stretch.ended * job_.row_scales_stride : kOnes.data();
    turn.col_scales = given ? job_.col_scales + stretch.ended * job_.col_scales_stride + col : kOnes.data();
    return turn;
  }

  /// Stores the columns that no turn has, from acc.
  void store_rest() {
    StoreJob rest = *job_.store;
    rest.acc += stored_ * rest.strip_rows;
    rest.out += stored_ * element_bytes(rest.format);
    rest.cols -= stored_;
    Floats::store_all(rest);
    out_.finish();
  }

  const MultiplyJob& job_;
  bool scaled_;
  Fetcher fetcher_;
  typename Floats::Out out_;
  std::int64_t stored_ = 0;  // columns of out
  std::array<Stretch, kMostTurns> pending_;
  std::size_t count_ = 0;
  std::int64_t taken_ = 0;
  std::int64_t depth_ = 0;                         // of the panels, in their units
  std::array<std::uint32_t, kInnerRows> changes_;  // between the row scales of the run at hand
};

template <class Chain>
void multiply(const MultiplyJob& job) {
  Multiplier<Chain>(job).run();
}

}  // namespace
}  // namespace ragdot::cpu::chains
