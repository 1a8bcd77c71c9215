// Few rows times weights with contiguous rows: chunk by chunk of the reduction axis, all columns, so that weights are read from
// the first to the last as they lie in memory. A kernel includes this file inside its target region, behind all other includes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/isa/avx512/lanes.hpp"
#include "cpu/isa/avx512/pack.hpp"
#include "cpu/isa/avx512bf16/codes.hpp"
#include "cpu/isa/avx512bf16/pairs.hpp"
#include "cpu/isa/chains/fetch.hpp"
#include "cpu/isa/features.hpp"
#include "cpu/kernel.hpp"

namespace ragdot::cpu::avx512bf16 {
namespace {

/// Columns that are multiplied together: vectors of 16.
inline constexpr std::int64_t kRunCols = 64;
inline constexpr std::size_t kRunVectors = 4;
using Run = __m512[kRunVectors];

/// Bounds of a product.
inline constexpr std::int64_t kMostRowsOfRuns = 16;
inline constexpr std::int64_t kMostColsOfRuns = 2048;

/// The pairs of two rows of weights. Masks: the columns that there are.
template <Format kFormat>
class RowPairs {
 public:
  explicit RowPairs(const std::byte* scale) : pairs_(scale) {}

  [[gnu::always_inline]] void take(const std::byte* early, const std::byte* late, __mmask64 cols, Run& pairs) const {
    pairs_.take(_mm512_maskz_loadu_epi8(cols, early), _mm512_maskz_loadu_epi8(cols, late), pairs);
  }

  /// From the order of pairs to that of columns, and back.
  static void reorder(Run& sums) {
    __m512i v[kRunVectors];
    for (std::size_t i = 0; i < kRunVectors; ++i) v[i] = _mm512_castps_si512(sums[i]);
    avx512::exchange_lanes(v[0], v[1], v[2], v[3]);
    for (std::size_t i = 0; i < kRunVectors; ++i) sums[i] = _mm512_castsi512_ps(v[i]);
  }

 private:
  CodePairs<kFormat> pairs_;
};

template <>
class RowPairs<Format::bf16> {
 public:
  explicit RowPairs(const std::byte* /*scale: of FP8*/) {}

  [[gnu::always_inline]] void take(const std::byte* early, const std::byte* late, __mmask64 cols, Run& pairs) const {
    for (std::size_t half = 0; half < 2; ++half) {
      const auto lanes = static_cast<__mmask32>(cols >> (32 * half));
      pairs_.take(_mm512_maskz_loadu_epi16(lanes, early + 64 * half), _mm512_maskz_loadu_epi16(lanes, late + 64 * half),
                  pairs[2 * half], pairs[2 * half + 1]);
    }
  }

  static void reorder(Run& /*sums: in the order of columns*/) {}

 private:
  Bf16Pairs pairs_;
};

/// The product of one call with weights of a format.
template <class Chain, Format kFormat>
class RowsProduct {
 public:
  RowsProduct(const MultiplyJob& job, const PackJob& weights)
      : job_(job),
        out_(job),
        side_(*weights.side),
        outer_(weights.outer),
        begin_(job.pieces.front().begin),
        chunks_((job.pieces.back().end - begin_) / schedule::kChunk),
        row_bytes_(side_.depth_stride * kBytes),
        l2_first_(asks_l2_first()) {}

  void run() {
    std::int64_t ended = 0;
    for (const schedule::Piece& piece : job_.pieces) {
      each_run([&](std::int64_t row, std::int64_t col) { begin_piece(piece, row, col); });
      for (std::int64_t depth = piece.begin; depth < piece.end; depth += schedule::kChunk) add_chunk(depth);
      each_run([&](std::int64_t row, std::int64_t col) { end_piece(piece, row, col, ended); });
      if (piece.last) ++ended;
    }
  }

 private:
  using Vector = typename Chain::Vector;
  static constexpr std::int64_t kBytes = element_bytes(kFormat);
  static constexpr std::int64_t kSteps = schedule::kChunk / 2;  // rows of pairs in a chunk
  static constexpr std::int64_t kPitch = kMostColsOfRuns + 16;  // of sums; rows a page apart would share sets of the cache
  static constexpr int kBlockRows = 3;                          // 24 chains

  template <class Visit>
  void each_run(Visit visit) const {
    for (std::int64_t row = 0; row < job_.rows; ++row) {
      for (std::int64_t col = 0; col < job_.cols; col += kRunCols) visit(row, col);
    }
  }

  /// p += e + o of a chunk, for all rows and columns.
  void add_chunk(std::int64_t depth) {
    RowPairs<kFormat> pairs(nullptr);
    const Ahead next = {side_.value(outer_, depth + schedule::kChunk), schedule::kChunk, job_.cols * kBytes, row_bytes_};
    chains::Fetcher fetcher({next}, kSteps * schedule::ceil_div(job_.cols, kRunCols), l2_first_);
    for (std::int64_t col = 0; col < job_.cols; col += kRunCols) {
      if (side_.folds()) {
        const std::int64_t scaled = fault::on(fault::Id::run_scale_of_first_columns) ? 0 : col;
        pairs = RowPairs<kFormat>(side_.scale(outer_ + scaled, depth));
      }
      const std::int64_t left = job_.cols - col;
      left >= kRunCols ? add_run(pairs, fetcher, depth, col, ~__mmask64{0})
                       : add_run(pairs, fetcher, depth, col, (__mmask64{1} << left) - 1);
    }
  }

  [[gnu::always_inline]] void add_run(const RowPairs<kFormat>& pairs, chains::Fetcher& fetcher, std::int64_t depth,
                                      std::int64_t col, __mmask64 cols) {
    const std::byte* at = side_.value(outer_ + col, depth);
    const std::int64_t chunk = (depth - begin_) / schedule::kChunk;
    const auto take = [&](std::int64_t i, Run& weights) __attribute__((always_inline)) {
      const std::byte* early = at + (i / 2 * 4 + i % 2) * row_bytes_;
      pairs.take(early, early + 2 * row_bytes_, cols, weights);
      if (i % 2 == 0) fetcher.step();
    };
    const auto from_memory = [&](std::int64_t i, Run& weights) __attribute__((always_inline)) {
      take(i, weights);
      if (i % 2 == 1) fetcher.step();
    };
    if (job_.rows == 1) return multiply<1>(0, chunk, col, from_memory);
    if (job_.rows == 2) return multiply<2>(0, chunk, col, from_memory);
    alignas(64) Run decoded[kSteps];
    for (std::int64_t i = 0; i < kSteps; ++i) take(i, decoded[i]);
    const auto from_cache = [&](std::int64_t i, Run& weights) __attribute__((always_inline)) {
      for (std::size_t v = 0; v < kRunVectors; ++v) weights[v] = decoded[i][v];
    };
    const auto first_time = [&](std::int64_t i, Run& weights) __attribute__((always_inline)) {
      from_cache(i, weights);
      if (i % 2 == 0) fetcher.step();
    };
    multiply<kBlockRows>(0, chunk, col, first_time);
    std::int64_t row = kBlockRows;
    for (; row + kBlockRows <= job_.rows; row += kBlockRows) multiply<kBlockRows>(row, chunk, col, from_cache);
    if (job_.rows - row == 1) multiply<1>(row, chunk, col, from_cache);
    if (job_.rows - row == 2) multiply<2>(row, chunk, col, from_cache);
  }

  template <int kRows, class Weights>
  [[gnu::always_inline]] void multiply(std::int64_t row, std::int64_t chunk, std::int64_t col, const Weights& weights) {
    const std::byte* lhs[kRows];
    Run chains[2][kRows];
    for (int r = 0; r < kRows; ++r) {
      lhs[r] = Chain::Panels::lhs_row(job_.lhs_panel, chunks_, row + r, chunk);
      for (std::size_t v = 0; v < kRunVectors; ++v) chains[0][r][v] = chains[1][r][v] = Chain::zero();
    }
    for (std::int64_t i = 0; i < kSteps; i += 2) {
#pragma GCC unroll 2
      for (std::int64_t odd = 0; odd < 2; ++odd) {
        Run pairs;
        weights(i + odd, pairs);
#pragma GCC unroll 3
        for (int r = 0; r < kRows; ++r) {
          const Vector values = Chain::spread(lhs[r] + 4 * (i + odd));
#pragma GCC unroll 4
          for (std::size_t v = 0; v < kRunVectors; ++v) chains[odd][r][v] = Chain::dot(chains[odd][r][v], values, pairs[v]);
        }
      }
    }
#pragma GCC unroll 3
    for (int r = 0; r < kRows; ++r) {
      float* sums = sums_of(row + r, col);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kRunVectors; ++v, sums += Chain::kLanes)
        Chain::store(sums, Chain::add(Chain::load(sums), Chain::add(chains[0][r][v], chains[1][r][v])));
    }
  }

  void begin_piece(const schedule::Piece& piece, std::int64_t row, std::int64_t col) {
    Run sums = {Chain::nothing(), Chain::nothing(), Chain::nothing(), Chain::nothing()};
    if (!piece.first && !fault::on(fault::Id::run_carry_dropped)) {
      for (std::size_t v = 0; v < vectors(col); ++v) sums[v] = out_.carried(row, col_of(v, col));
      RowPairs<kFormat>::reorder(sums);
    }
    for (std::size_t v = 0; v < kRunVectors; ++v)
      Chain::store(sums_of(row, col) + Chain::kLanes * static_cast<std::int64_t>(v), sums[v]);
  }

  void end_piece(const schedule::Piece& piece, std::int64_t row, std::int64_t col, std::int64_t ended) {
    Run sums;
    for (std::size_t v = 0; v < kRunVectors; ++v)
      sums[v] = Chain::load(sums_of(row, col) + Chain::kLanes * static_cast<std::int64_t>(v));
    if (!fault::on(fault::Id::run_sums_in_order_of_pairs)) RowPairs<kFormat>::reorder(sums);
    for (std::size_t v = 0; v < vectors(col); ++v) out_.end(piece, ended, row, col_of(v, col), sums[v]);
  }

  /// Vectors of a run that acc has: whole strips.
  [[nodiscard]] std::size_t vectors(std::int64_t col) const { return job_.cols - col > kRunCols / 2 ? kRunVectors : 2; }
  /// The first column of vector `v` from column `col` on.
  static std::int64_t col_of(std::size_t v, std::int64_t col) { return col + Chain::kLanes * static_cast<std::int64_t>(v); }
  [[nodiscard]] float* sums_of(std::int64_t row, std::int64_t col) { return sums_.data() + row * kPitch + col; }

  const MultiplyJob& job_;
  const avx512::StripSums out_;
  const Side& side_;
  const std::int64_t outer_;
  const std::int64_t begin_;
  const std::int64_t chunks_;
  const std::int64_t row_bytes_;
  const bool l2_first_;
  alignas(64) std::array<float, kMostRowsOfRuns * kPitch> sums_;
};

}  // namespace
}  // namespace ragdot::cpu::avx512bf16
