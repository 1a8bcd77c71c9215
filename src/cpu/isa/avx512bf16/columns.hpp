// Few rows times weights with contiguous columns, as layers store them. Lanes are the chunks of one column instead of columns,
// so that weights are read from the first to the last as they lie in memory. A kernel includes this file inside its target
// region, behind all other includes.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/isa/avx512/lanes.hpp"
#include "cpu/isa/avx512/pack.hpp"
#include "cpu/isa/chains/fetch.hpp"
#include "cpu/isa/features.hpp"
#include "cpu/kernel.hpp"

namespace ragdot::cpu::avx512bf16 {
namespace {

/// 32 chunks of one column, or of one row of lhs: lane l of vector v has chunk 2l + v. A granule of them is two tiles, one for
/// each v, of 16 vectors of pairs.
inline constexpr std::int64_t kGranuleDepth = 32 * schedule::kChunk;

inline constexpr std::int64_t kMostRowsOfColumns = 8;

/// So many elements of bf16 or FP8 from `at` on, zeros behind them, to the pairs of a granule. kWhole: they fill it.
template <Format kFormat, const avx512::Pairing& kPairing, bool kWhole>
void turn(const std::byte* at, std::int64_t elements, std::byte* granule) {
  static_assert(avx512::pairs_share_dwords(kPairing));
  using chains::kLineBytes;
  if constexpr (kFormat == Format::bf16) {
    const __m512i words = _mm512_loadu_si512(avx512::kPairedWords<kPairing>.data());
    for (std::int64_t v = 0; v < 2; ++v) {
      __m512i chunks[16];
      for (std::int64_t lane = 0; lane < 16; ++lane) {
        const std::int64_t i = 2 * lane + v;
        std::int64_t left =
            kWhole ? schedule::kChunk : std::clamp<std::int64_t>(elements - i * schedule::kChunk, 0, schedule::kChunk);
        const __m512i line = _mm512_maskz_loadu_epi16(avx512::first_lanes(left), at + i * kLineBytes);
        chunks[lane] = _mm512_permutexvar_epi16(words, line);
      }
      avx512::transpose(chunks);
      for (std::int64_t i = 0; i < 16; ++i, granule += avx512::kRowBytes) _mm512_store_si512(granule, chunks[i]);
    }
  } else {
    // A line holds two chunks, a dword of it two pairs.
    const avx512::Decoder<kFormat> decode(avx512::kFirstPairs<kPairing>, avx512::kSecondPairs<kPairing>);
    __m512i lines[16];
    for (std::int64_t i = 0; i < 16; ++i) {
      std::int64_t left = kWhole ? kLineBytes : std::clamp<std::int64_t>(elements - i * kLineBytes, 0, kLineBytes);
      const __mmask64 codes = left == kLineBytes ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
      lines[i] = _mm512_maskz_loadu_epi8(codes, at + i * kLineBytes);
    }
    avx512::transpose(lines);
    for (std::int64_t dword = 0; dword < 16; ++dword, granule += 2 * avx512::kRowBytes) {
      __m512i first;
      __m512i second;
      decode(lines[dword], first, second);
      _mm512_store_si512(granule, first);
      _mm512_store_si512(granule + avx512::kRowBytes, second);
    }
  }
}

template <Format kFormat, const avx512::Pairing& kPairing>
void turn(const std::byte* at, std::int64_t elements, std::byte* granule) {
  elements >= kGranuleDepth || fault::on(fault::Id::column_tail_unmasked)
      ? turn<kFormat, kPairing, true>(at, kGranuleDepth, granule)
      : turn<kFormat, kPairing, false>(at, elements, granule);
}

template <Format kFormat, const avx512::Pairing& kPairing>
void turn_rows(const PackJob& job) {
  const std::int64_t begin = job.pieces.front().begin;
  const std::int64_t end = job.pieces.back().end;
  std::byte* to = job.panel;
  for (std::int64_t row = job.outer; row < job.outer + job.count; ++row) {
    for (std::int64_t at = begin; at < end; at += kGranuleDepth, to += avx512::kGranuleBytes)
      turn<kFormat, kPairing>(job.side->value(row, at), end - at, to);
  }
}

/// The product of one call with weights of a format.
template <class Chain, Format kFormat, const avx512::Pairing& kPairing>
class ColumnsProduct {
 public:
  ColumnsProduct(const MultiplyJob& job, const PackJob& weights)
      : job_(job),
        out_(job),
        weights_(weights),
        begin_(job.pieces.front().begin),
        depth_(job.pieces.back().end - begin_),
        granules_(schedule::ceil_div(depth_, kGranuleDepth)),
        l2_first_(asks_l2_first()),
        ahead_(ahead(l2_first_ ? 16384 : 8192)),
        near_(ahead(4096)) {}

  void run() {
    for (std::int64_t col = 0; col < job_.cols; col += kLanes) {
      for (std::int64_t c = 0; c < std::min(kLanes, job_.cols - col); ++c) multiply_column(col + c, c);
      for (std::int64_t row = 0; row < job_.rows; ++row) {
        turn_sums(row);
        end_pieces(row, col);
      }
    }
  }

 private:
  using Vector = typename Chain::Vector;
  static constexpr std::int64_t kLanes = Chain::kLanes;
  static constexpr std::int64_t kMostGranules = kMostDepth / kGranuleDepth;

  /// Bytes to the column that begins so many bytes of weights later.
  [[nodiscard]] std::int64_t ahead(std::int64_t bytes) const {
    return schedule::ceil_div(bytes, depth_ * element_bytes(kFormat)) * weights_.side->outer_stride * element_bytes(kFormat);
  }

  /// The sums of all chunks of a column, for all rows.
  void multiply_column(std::int64_t col, std::int64_t place) {
    alignas(64) std::array<std::byte, avx512::kGranuleBytes> pairs;
    const std::byte* at = weights_.side->value(weights_.outer + col, begin_);
    for (std::int64_t g = 0; g < granules_; ++g) {
      const std::int64_t first = g * kGranuleDepth;
      const std::byte* granule = at + first * element_bytes(kFormat);
      for (std::int64_t line = 0; line < kGranuleDepth * element_bytes(kFormat); line += chains::kLineBytes) {
        chains::fetch_line(granule + ahead_ + line, l2_first_);
        if (l2_first_) chains::fetch_line(granule + near_ + line, false);
      }
      turn<kFormat, kPairing>(granule, depth_ - first, pairs.data());
      for (std::int64_t v = 0; v < 2; ++v) {
        Vector rhs[16];
        for (std::int64_t i = 0; i < 16; ++i)
          rhs[i] = Chain::load(pairs.data() + v * avx512::kTileBytes + i * avx512::kRowBytes);
        for (std::int64_t row = 0; row < job_.rows; ++row) {
          const std::byte* lhs = job_.lhs_panel + (row * granules_ + g) * avx512::kGranuleBytes + v * avx512::kTileBytes;
          Vector even = Chain::zero();
          Vector odd = Chain::zero();
#pragma GCC unroll 8
          for (std::int64_t i = 0; i < 16; i += 2) {
            even = Chain::dot(even, Chain::load(lhs + i * avx512::kRowBytes), rhs[i]);
            odd = Chain::dot(odd, Chain::load(lhs + (i + 1) * avx512::kRowBytes), rhs[i + 1]);
          }
          Chain::store(sums(row, 2 * g + v) + place * kLanes, Chain::add(even, odd));
        }
      }
    }
  }

  /// A row's sums of 16 columns: a vector of them for each chunk.
  void turn_sums(std::int64_t row) {
    for (std::int64_t i = 0; i < 2 * granules_; ++i) {
      __m512i columns[16];
      for (std::int64_t c = 0; c < kLanes; ++c) columns[c] = _mm512_load_si512(sums(row, i) + c * kLanes);
      avx512::transpose(columns);
      for (std::int64_t lane = 0; lane < kLanes; ++lane) {
        std::int64_t chunk = (i / 2 * kLanes + lane) * 2 + i % 2;
        if (fault::on(fault::Id::column_chunks_in_order_of_lanes)) chunk = i * kLanes + lane;
        _mm512_store_si512(chunks_.data() + chunk * kLanes, columns[lane]);
      }
    }
  }

  void end_pieces(std::int64_t row, std::int64_t col) const {
    std::int64_t ended = 0;
    for (const schedule::Piece& piece : job_.pieces) {
      Vector p = piece.first || fault::on(fault::Id::column_carry_dropped) ? Chain::nothing() : out_.carried(row, col);
      for (std::int64_t depth = piece.begin; depth < piece.end; depth += schedule::kChunk)
        p = Chain::add(p, Chain::load(chunks_.data() + (depth - begin_) / schedule::kChunk * kLanes));
      out_.end(piece, ended, row, col, p);
      if (piece.last) ++ended;
    }
  }

  [[nodiscard]] float* sums(std::int64_t row, std::int64_t tile) {
    return sums_.data() + (row * 2 * granules_ + tile) * kLanes * kLanes;
  }

  const MultiplyJob& job_;
  const avx512::StripSums out_;
  const PackJob& weights_;
  const std::int64_t begin_;
  const std::int64_t depth_;
  const std::int64_t granules_;
  const bool l2_first_;
  const std::int64_t ahead_;  // bytes to what is asked for
  const std::int64_t near_;   // and, from the L2 cache, to what the L1 cache takes
  alignas(64) std::array<float, kMostRowsOfColumns * 2 * kMostGranules * kLanes * kLanes> sums_;
  alignas(64) std::array<float, kMostDepth / schedule::kChunk * kLanes> chunks_;
};

}  // namespace
}  // namespace ragdot::cpu::avx512bf16
