// Chains whose weights are packed FP8 codes, for few rows: decoded in registers for each block of rows, or once into the L1
// cache. A kernel includes this file inside its target region, behind all other includes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa/avx512/decode.hpp"
#include "cpu/isa/avx512/pack.hpp"
#include "cpu/isa/chains/fetch.hpp"
#include "cpu/isa/chains/visit.hpp"
#include "cpu/side.hpp"

namespace ragdot::cpu::avx512bf16 {
namespace {

static_assert(kPackedCols == chains::kStripCols);

/// Rows of codes that are decoded together.
inline constexpr std::int64_t kQuad = 4;
/// Four rows of weights for 8 columns each: lanes 0 and 1 hold the pairs of the even chain, lanes 2 and 3 those of the odd one.
/// Columns 0-3 16-19, 4-7 20-23, 8-11 24-27, 12-15 28-31.
using Quad = __m512[4];

inline int steps_of_scale(const std::byte* code) {
  return code == nullptr ? 0 : avx512::steps_of(std::to_integer<std::uint8_t>(*code));
}

/// The pairs of 64 columns of two rows of codes, as unpacking leaves them: vector v has columns 4v to 4v + 3 of each 16. The
/// earlier row stands in the high halves.
template <Format kFormat>
class CodePairs {
 public:
  explicit CodePairs(const std::byte* scale) : tables_(steps_of_scale(scale)) {}

  [[gnu::always_inline]] void take(__m512i early, __m512i late, __m512 (&pairs)[4]) const {
    decode(_mm512_unpacklo_epi8(late, early), pairs[0], pairs[1]);
    decode(_mm512_unpackhi_epi8(late, early), pairs[2], pairs[3]);
  }

  [[gnu::always_inline]] void decode(__m512i codes, __m512& first, __m512& second) const {
    __m512i low;
    __m512i high;
    tables_(codes, low, high);
    first = _mm512_castsi512_ps(_mm512_unpacklo_epi8(low, high));
    second = _mm512_castsi512_ps(_mm512_unpackhi_epi8(low, high));
  }

 private:
  avx512::ByteTables<kFormat> tables_;
};

/// Weights as packing leaves them: of a pair, the first row of each, behind them the second.
template <Format kFormat>
class Codes {
 public:
  static constexpr std::int64_t kQuadBytes = kQuad * kPackedCols;

  explicit Codes(const std::byte* scale) : pairs_(scale) {}

  [[gnu::always_inline]] void take(const std::byte* at, Quad& weights) const {
    pairs_.take(_mm512_loadu_si512(at), _mm512_loadu_si512(at + kQuadBytes / 2), weights);
  }
  [[gnu::always_inline]] static void fetch(const std::byte* at, bool l2_first) {
    constexpr std::int64_t kAhead = 8192;
    for (std::int64_t line = 0; line < kQuadBytes; line += chains::kLineBytes)
      chains::fetch_in_order(at + line, kAhead, l2_first);
  }

 private:
  CodePairs<kFormat> pairs_;
};

/// Codes of rows kOdd and 2 + kOdd of four, the later row first, such that unpacking leaves pairs of 16 columns in a vector.
template <std::size_t kOdd>
inline constexpr avx512::ByteOrder kPairOrder = [] {
  avx512::ByteOrder order{};
  for (std::size_t i = 0; i < 64; ++i) {
    const std::size_t col = i % 16 / 8 * 16 + i / 16 * 4 + i % 8 / 2;
    order[i] = static_cast<std::uint8_t>((i % 2 == 0 ? 64U : 0U) + kOdd * 32 + col);
  }
  return order;
}();

/// Granules of whole chunks of one strip. Packing could do the same, but looks up twice as many bytes for a value.
template <Format kFormat>
void decode_codes(const PackJob& job) {
  const Side& side = *job.side;
  const schedule::Piece& piece = job.pieces.front();
  std::byte* to = job.panel;
  const __m512i orders[2] = {_mm512_loadu_si512(kPairOrder<0>.data()), _mm512_loadu_si512(kPairOrder<1>.data())};
  for (std::int64_t depth = piece.begin; depth < piece.end;) {
    const CodePairs<kFormat> source(side.folds() ? side.scale(job.outer, depth) : nullptr);
    const std::int64_t end = side.folds() ? std::min(piece.end, side.depth_grid.next_cut(depth)) : piece.end;
    for (const std::byte* from = side.value(job.outer, depth); depth < end;
         depth += schedule::kChunk, to += avx512::kTileBytes) {
      for (std::int64_t quad = 0; quad < schedule::kChunk / kQuad; ++quad, from += Codes<kFormat>::kQuadBytes) {
        const __m512i early = _mm512_loadu_si512(from);
        const __m512i late = _mm512_loadu_si512(from + Codes<kFormat>::kQuadBytes / 2);
        for (const __m512i& order : orders) {
          __m512 first;
          __m512 second;
          source.decode(_mm512_permutex2var_epi8(early, order, late), first, second);
          _mm512_store_ps(to, first);
          _mm512_store_ps(to + avx512::kTileBytes, second);
          to += avx512::kRowBytes;
        }
      }
    }
  }
}

template <class Chain, Format kFormat>
struct QuadChain : Chain {
  using Vector = typename Chain::Vector;
  static constexpr bool kOneScale = true;  // of rhs, in a turn

  /// p += e + o for each chunk of the turn.
  template <int kRows>
  [[gnu::always_inline]] static void add_chunks(const chains::Turn& turn, std::int64_t row, std::int64_t /*col: the strip*/,
                                                chains::Sums<Chain, kRows>& p) {
    using Panels = typename Chain::Panels;
    const Codes<kFormat> source(turn.rhs_scale);
    const std::byte* lhs[kRows];
    for (int r = 0; r < kRows; ++r) lhs[r] = Panels::lhs_row(turn.lhs_panel, turn.panel_depth, turn.row + row + r, turn.at);
    const std::byte* rhs = turn.rhs;
    if (!turn.begins && !fault::on(fault::Id::codes_carry_out_of_order)) each_row<kRows>(p, from_columns);
    for (std::int64_t left = turn.depth; left > 0; left -= schedule::kChunk) {
      Quad sums[kRows];
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = Chain::zero();
      for (std::int64_t i = 0; i < schedule::kChunk / kQuad; ++i, rhs += Codes<kFormat>::kQuadBytes) {
        Codes<kFormat>::fetch(rhs, turn.l2_first);
        Quad weights;
        source.take(rhs, weights);
#pragma GCC unroll 6
        for (int r = 0; r < kRows; ++r) {
          const Vector values = both_pairs(lhs[r] + 8 * i);
#pragma GCC unroll 4
          for (int v = 0; v < 4; ++v) sums[r][v] = Chain::dot(sums[r][v], values, weights[v]);
        }
      }
#pragma GCC unroll 6
      for (int r = 0; r < kRows; ++r) {
        lhs[r] += Panels::kLhsChunkBytes;
        p[r][0] = Chain::add(p[r][0], evens_and_odds(sums[r][0], sums[r][1]));
        p[r][1] = Chain::add(p[r][1], evens_and_odds(sums[r][2], sums[r][3]));
      }
    }
    each_row<kRows>(p, to_columns);
  }

 private:
  /// A pair for the even chain in lanes 0 and 1, the next for the odd one in lanes 2 and 3.
  static Vector both_pairs(const std::byte* pairs) {
    const auto* even = reinterpret_cast<const float*>(pairs);
    constexpr __mmask16 kOddLanes = 0xff00;
    return _mm512_mask_broadcastss_ps(_mm512_set1_ps(even[0]), kOddLanes, _mm_load_ss(even + 1));
  }

  static Vector evens_and_odds(Vector a, Vector b) {
    return Chain::add(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }

  template <int kRows>
  [[gnu::always_inline]] static void each_row(chains::Sums<Chain, kRows>& p, void (*exchange)(Vector&, Vector&)) {
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) exchange(p[r][0], p[r][1]);
  }
  /// From the order of evens_and_odds(), columns 0-3 16-19 4-7 20-23 and 8-11 24-27 12-15 28-31, to that of columns.
  static void to_columns(Vector& first, Vector& second) {
    const Vector low = _mm512_shuffle_f32x4(first, second, 0x88);
    second = _mm512_shuffle_f32x4(first, second, 0xdd);
    first = low;
  }
  static void from_columns(Vector& first, Vector& second) {
    const Vector low = _mm512_shuffle_f32x4(first, second, 0x44);
    const Vector high = _mm512_shuffle_f32x4(first, second, 0xee);
    first = _mm512_shuffle_f32x4(low, low, 0xd8);
    second = _mm512_shuffle_f32x4(high, high, 0xd8);
  }
};

}  // namespace
}  // namespace ragdot::cpu::avx512bf16
