// The loops of the vector kernels: register blocks of even and odd chains over two panels, whatever the vectors are.
// A kernel includes this file inside its target region, behind all other includes, so that the templates get its instructions.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "cpu/isa/chains/fetch.hpp"
#include "cpu/isa/chains/panels.hpp"
#include "format/fault.hpp"

namespace ragdot::cpu::chains {
namespace {

/// Register block: Chain::kBlockRows rows x 2 vectors, with p where there is room for it. 512 bits, 4 x 32 outputs:
///   16 chains: 8 even, 8 odd      8 p      2 rhs      1 lhs, spread over the lanes      27 of 32
/// Integers take one chain, 6 x 32 outputs: 12 chains, 12 p (quads add to p), 2 rhs, 1 lhs. With 16 registers (256 bits: 6 x 16
/// outputs) the even chains of a chunk run first and wait on the stack for the odd ones:
///   12 chains                     2 rhs      1 lhs                                      15 of 16
inline constexpr int kMostRows = 6;
/// Rows and columns of one multiplication.
inline constexpr std::int64_t kInnerRows = 256;
inline constexpr std::int64_t kInnerCols = 8 * kStripCols;
/// What a block reads of the rhs panel before the next block's turn stays in the L1 cache.
inline constexpr std::int64_t kVisitBytes = 16 << 10;

/// What the sums of a strip's columns begin at, for chains whose products are off by as much.
using Starts = std::array<std::int32_t, kStripCols>;

/// What all register blocks of a strip have in common in one turn.
struct Turn {
  const std::byte* lhs_panel = nullptr;
  std::int64_t panel_depth = 0;  // of the panels, in their units of depth
  std::int64_t at = 0;           // in the panels, in their units of depth
  std::int64_t row = 0;          // of the lhs panel, where the blocks' rows start
  const std::byte* rhs = nullptr;
  const std::byte* rhs_scale = nullptr;  // e8m0, not yet folded: of chains that have one in a turn
  const Starts* starts = nullptr;        // of chains that have them
  std::int64_t depth = 0;                // elements; starts at a chunk
  float* carried = nullptr;              // the unfinished segment, rows kStripCols apart
  bool begins = false;                   // begins its segment: nothing is carried yet
  float* acc = nullptr;                  // ends its segment: where it is added; null: it does not end, or is not scaled
  bool sets = false;                     // acc holds nothing yet
  const float* row_scales = nullptr;
  const float* col_scales = nullptr;
  std::int64_t block = 0;  // of few rows: the number of the block at hand, and how many there are
  std::int64_t blocks = 1;
  std::byte* out = nullptr;          // of the strip, where its sums are final and it is whole, else null
  const std::byte* ahead = nullptr;  // memory to ask for, so many lines in each chunk of a block
  std::int64_t ahead_lines = 0;      // few at a time: what waits for memory holds up the products' loads
  bool l2_first = false;             // asks_l2_first()
};

template <class Chain, int kRows>
using Sums = typename Chain::Vector[kRows][2];

/// Rows of a block whose lhs values are spread once for both products. On Zen 4 spreading takes a port that products need, and
/// spreading within a product takes a second load: some rows of three and more in that way leave room on both (decision 133).
template <class Chain, int kRows>
constexpr int rows_spread_once() {
  if constexpr (requires { Chain::kSpreadByProducts; }) return kRows - std::clamp(kRows - 2, 0, Chain::kSpreadByProducts);
  return kRows;
}

/// sums += column `at` of the lhs rows times the 2 vectors of a row of rhs.
template <class Chain, int kRows>
[[gnu::always_inline]] inline void multiply_row(const std::byte* const (&lhs)[kRows], std::int64_t at,
                                                typename Chain::Vector b0, typename Chain::Vector b1,
                                                Sums<Chain, kRows>& sums) {
  constexpr int kOnce = rows_spread_once<Chain, kRows>();
#pragma GCC unroll 6
  for (int r = 0; r < kOnce; ++r) {
    const auto a = Chain::spread(lhs[r] + at);
    sums[r][0] = Chain::dot(sums[r][0], a, b0);
    sums[r][1] = Chain::dot(sums[r][1], a, b1);
  }
  if constexpr (kOnce < kRows) {
#pragma GCC unroll 2
    for (int r = kOnce; r < kRows; ++r) {
      sums[r][0] = Chain::dot_spread(sums[r][0], lhs[r] + at, b0);
      sums[r][1] = Chain::dot_spread(sums[r][1], lhs[r] + at, b1);
    }
  }
}

/// sums += column `at` of the lhs rows times one row of the rhs panel.
template <class Chain, int kRows>
[[gnu::always_inline]] inline void step(const std::byte* const (&lhs)[kRows], std::int64_t at, const std::byte* rhs,
                                        Sums<Chain, kRows>& sums) {
  multiply_row<Chain, kRows>(lhs, at, Chain::load(rhs), Chain::load(rhs + Chain::Panels::kVectorBytes), sums);
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
#pragma GCC unroll 8
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
  const std::byte* ahead = turn.ahead;
  const auto add_chunk = [&](std::int64_t steps) __attribute__((always_inline)) {
    Sums<Chain, kRows> even;
    Sums<Chain, kRows> odd;
    for (std::int64_t line = 0; line < turn.ahead_lines; ++line, ahead += kLineBytes) fetch_line(ahead, turn.l2_first);
    run_chains<Chain, kRows>(lhs, at, rhs, steps, even, odd);
    at += Panels::kLhsChunkBytes;
    rhs += Panels::kRhsChunkBytes;
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      p[r][0] = Chain::add(p[r][0], Chain::add(even[r][0], odd[r][0]));
      p[r][1] = Chain::add(p[r][1], Chain::add(even[r][1], odd[r][1]));
    }
  };
  std::int64_t left = turn.depth;
  for (; left >= chunk; left -= chunk) add_chunk(Panels::steps(chunk));
  if (left > 0) add_chunk(Panels::steps(left));
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
    if constexpr (requires { Chain::template add_chunks<kRows>(turn, row, col, p); }) {
      Chain::template add_chunks<kRows>(turn, row, col, p);
    } else {
      add_chunks<Chain, kRows>(turn, row, col, p);
    }
    if (turn.acc != nullptr) {
      Sums<Floats, kRows> sums;
      end_segment<Chain, kRows>(turn, row, col, p, sums);
      put<Floats, kRows, Floats::kStores>(turn, out, row, turn.acc + at, sums);
    } else {
      put<Chain, kRows, Floats::kStores && !Chain::kIntegers>(turn, out, row, turn.carried + at, p);
    }
  }
}

/// For each number of rows, from 1 on.
template <class Chain>
constexpr auto visits() {
  return []<std::size_t... kLess>(std::index_sequence<kLess...>) {
    return std::array{visit_block<Chain, static_cast<int>(kLess) + 1>...};
  }(std::make_index_sequence<Chain::kBlockRows>());
}
template <class Chain>
inline constexpr auto kVisits = visits<Chain>();

}  // namespace
}  // namespace ragdot::cpu::chains
