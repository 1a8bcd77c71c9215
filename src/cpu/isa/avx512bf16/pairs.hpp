// Chains whose weights are rows of bf16, paired in registers for each block of rows, or once into the L1 cache. A kernel
// includes this file inside its target region, behind all other includes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa/avx512/pack.hpp"
#include "cpu/isa/chains/fetch.hpp"
#include "cpu/isa/chains/visit.hpp"
#include "cpu/side.hpp"

namespace ragdot::cpu::avx512bf16 {
namespace {

/// The pairs of 32 columns of two rows: 16 columns each. The earlier row stands in the high halves.
class Bf16Pairs {
 public:
  Bf16Pairs()
      : first_(_mm512_loadu_si512(avx512::kFirstColumns.data())), second_(_mm512_loadu_si512(avx512::kSecondColumns.data())) {}

  [[gnu::always_inline]] void take(__m512i early, __m512i late, __m512& first, __m512& second) const {
    first = _mm512_castsi512_ps(_mm512_permutex2var_epi16(late, first_, early));
    second = _mm512_castsi512_ps(_mm512_permutex2var_epi16(late, second_, early));
  }

 private:
  __m512i first_;
  __m512i second_;
};

/// Asks for packed weights as far ahead as a turn reads. Blocks of rows read a turn's weights one after the other; each asks
/// for its share of the lines.
class LinesAhead {
 public:
  /// kStepBytes: what is read between two calls of ask().
  template <std::int64_t kStepBytes>
  static LinesAhead of(const chains::Turn& turn) {
    constexpr std::int64_t kLines = kStepBytes / chains::kLineBytes;
    const std::int64_t share = schedule::ceil_div(kLines, turn.blocks) * chains::kLineBytes;
    return {turn.block * share, share, turn.l2_first};
  }
  [[gnu::always_inline]] void ask(const std::byte* at) const {
    for (std::int64_t line = 0; line < share_; line += chains::kLineBytes)
      chains::fetch_in_order(at + begin_ + line, chains::kVisitBytes, l2_first_);
  }

 private:
  LinesAhead(std::int64_t begin, std::int64_t share, bool l2_first) : begin_(begin), share_(share), l2_first_(l2_first) {}

  std::int64_t begin_;
  std::int64_t share_;
  bool l2_first_;
};

/// Granules of whole chunks of one strip of packed weights.
inline void pair_rows(const PackJob& job) {
  constexpr std::int64_t kRowBytes = 2 * kPackedCols;
  const Bf16Pairs pairs;
  const schedule::Piece& piece = job.pieces.front();
  const std::byte* from = job.side->value(job.outer, piece.begin);
  std::byte* to = job.panel;
  for (std::int64_t depth = piece.begin; depth < piece.end; depth += schedule::kChunk, to += avx512::kTileBytes) {
    for (std::int64_t quad = 0; quad < schedule::kChunk / 4; ++quad, from += 4 * kRowBytes) {
#pragma GCC unroll 2
      for (std::int64_t odd = 0; odd < 2; ++odd, to += avx512::kRowBytes) {
        const std::byte* early = from + odd * kRowBytes;
        __m512 first;
        __m512 second;
        pairs.take(_mm512_loadu_si512(early), _mm512_loadu_si512(early + 2 * kRowBytes), first, second);
        _mm512_store_ps(to, first);
        _mm512_store_ps(to + avx512::kTileBytes, second);
      }
    }
  }
}

/// Packed weights.
template <class Chain>
struct PairChain : Chain {
  static constexpr int kSpreadByProducts = 2;  // putting rows in pairs takes the port of spreading as well
  using Vector = typename Chain::Vector;

  /// p += e + o for each chunk of the turn.
  template <int kRows>
  [[gnu::always_inline]] static void add_chunks(const chains::Turn& turn, std::int64_t row, std::int64_t /*col: the strip*/,
                                                chains::Sums<Chain, kRows>& p) {
    using Panels = typename Chain::Panels;
    constexpr std::int64_t kRowBytes = 2 * kPackedCols;
    const Bf16Pairs pairs;
    const auto ahead = LinesAhead::of<4 * kRowBytes>(turn);
    const std::byte* lhs[kRows];
    for (int r = 0; r < kRows; ++r) lhs[r] = Panels::lhs_row(turn.lhs_panel, turn.panel_depth, turn.row + row + r, turn.at);
    const std::byte* rhs = turn.rhs;
    for (std::int64_t left = turn.depth; left > 0; left -= schedule::kChunk) {
      chains::Sums<Chain, kRows> sums[2];  // even and odd
#pragma GCC unroll 2
      for (auto& chain : sums) chains::fill<Chain, kRows>(chain, Chain::zero());
      for (std::int64_t i = 0; i < schedule::kChunk / 4; ++i, rhs += 4 * kRowBytes) {
        ahead.ask(rhs);
#pragma GCC unroll 2
        for (std::int64_t odd = 0; odd < 2; ++odd) {
          const std::byte* early = rhs + odd * kRowBytes;
          Vector weights[2];
          pairs.take(_mm512_loadu_si512(early), _mm512_loadu_si512(early + 2 * kRowBytes), weights[0], weights[1]);
          chains::multiply_row<PairChain, kRows>(lhs, 4 * (2 * i + odd), weights[0], weights[1], sums[odd]);
        }
      }
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        if (!fault::on(fault::Id::pair_chunks_take_first_rows)) lhs[r] += Panels::kLhsChunkBytes;
        p[r][0] = Chain::add(p[r][0], Chain::add(sums[0][r][0], sums[1][r][0]));
        p[r][1] = Chain::add(p[r][1], Chain::add(sums[0][r][1], sums[1][r][1]));
      }
    }
  }
};

}  // namespace
}  // namespace ragdot::cpu::avx512bf16
