// One visit of the AMX micro-kernel to a block of sums: its products, and between them what is left to do for the block before.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "cpu/isa/avx512/fold.hpp"
#include "cpu/isa/avx512/store.hpp"
#include "cpu/isa/target.hpp"

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
/// Steps of one visit between which the pending rows of the block before are spread. Scaled segments are usually 128 deep.
inline constexpr std::int64_t kVisitSteps = 4;

enum class Sums : std::int32_t { f32, i32 };

/// Segments that are added to acc at once, at most.
inline constexpr std::size_t kMostSegments = 4;

/// What becomes of finished tiles: they are kept where a later stretch or the caller finds them (no segments), or they go to
/// scratch and from there, scaled, onto acc, alone or together with those of the segments before; the first segments set acc.
/// Final sums go to out from where the others would be kept, set or added: memory takes them while the next block is
/// multiplied.
struct Settle {
  bool out = false;
  std::size_t segments = 0;
  bool adds = false;
  bool operator==(const Settle&) const = default;
};

inline constexpr auto kSettles = [] {
  std::array<Settle, 2 * (1 + 2 * kMostSegments)> all;
  std::size_t count = 0;
  for (const bool out : {false, true}) {
    all[count++] = {out, 0, false};
    for (std::size_t segments = 1; segments <= kMostSegments; ++segments) {
      for (const bool adds : {false, true}) all[count++] = {out, segments, adds};
    }
  }
  return all;
}();

/// Calls `work` with a way of settling as a constant.
template <class Work, std::size_t... kAt>
[[gnu::always_inline]] inline void with_settle(const Settle& settle, Work work, std::index_sequence<kAt...>) {
  (void)((settle == kSettles[kAt] && (work(std::integral_constant<Settle, kSettles[kAt]>()), true)) || ...);
}

/// Sums of a block, rows kSumsRowBytes apart, and the scales of their segment.
struct Segment {
  float* sums = nullptr;
  const float* row_scales = nullptr;
  const float* col_scales = nullptr;
};

/// What is left to do for a block whose last product has been issued: its sums are still in the tile registers.
struct Pending {
  Segment last;                                    // where the tiles go
  std::array<Segment, kMostSegments - 1> earlier;  // of the segments before, in scratch
  Settle settle;
  float* acc = nullptr;
  int rows = static_cast<int>(kBlock);
  std::byte* out = nullptr;
};

template <Sums kSums>
__m512 load_sums(const float* at) {
  if constexpr (kSums == Sums::i32) return _mm512_cvtepi32_ps(_mm512_load_si512(at));
  return _mm512_load_ps(at);
}

/// One visit: the products of a block and a stretch, and between them what is pending of the visit before.
template <class Tiles, Sums kSums, int kRows, Settle kSettle>
class Visit {
 public:
  /// `start`: where an earlier stretch of the segment left its sums; null: they start at zero.
  Visit(const std::byte* lhs, const std::byte* rhs, const float* start, const Pending& pending, const avx512::OutRows& out)
      : lhs_(lhs), rhs_(rhs), start_(start), pending_(pending), out_(out) {
    if constexpr (kSettle.segments > 0) last_cols_ = loaded(pending.last.col_scales);
    for (std::size_t i = 0; i < kEarlier; ++i) earlier_cols_[i] = loaded(pending.earlier[i].col_scales);
  }

  [[gnu::always_inline]] void run(std::int64_t steps) {  // out of line, scaled gmm is a seventh slower
    start_ == nullptr ? first_step<false>() : first_step<true>();
    if (steps >= kVisitSteps) {
      step<0, 2, 3, 3, 3>();
      step<11, 2, 3, 3, 3>();
      step<22, 2, 3, 3, 2>();
      for (std::int64_t s = kVisitSteps; s < steps; ++s) step<0, 0, 0, 0, 0>();
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
  static constexpr std::size_t kEarlier = kSettle.segments > 1 ? kSettle.segments - 1 : 0;

  template <int kSum>
  static constexpr std::int64_t kPlace = kSum / 2 * 16 * kBlock + kSum % 2 * 16;  // of a tile within the sums of a block

  template <int kSum>
  [[gnu::always_inline]] void settle_tile() {
    if constexpr (kSum / 2 < kRowTiles) Tiles::template store<kSum>(pending_.last.sums + kPlace<kSum>, kSumsRowBytes);
  }

  /// Whole blocks come one after the other to an rhs that stays in the L1 cache: they do not push it out.
  template <int kTile>
  [[gnu::always_inline]] void load_lhs(const std::byte* at) {
    if constexpr (kRows == kBlock) {
      Tiles::template load_once<kTile>(at, kRowBytes);
    } else {
      Tiles::template load<kTile>(at, kRowBytes);
    }
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

  template <int kSum, bool kCarried>
  [[gnu::always_inline]] void first_product() {
    settle_tile<kSum>();
    if constexpr (kSum / 2 < kRowTiles && kCarried) {
      Tiles::template load<kSum>(start_ + kPlace<kSum>, kSumsRowBytes);
    } else if constexpr (kSum / 2 < kRowTiles) {
      Tiles::template zero<kSum>();
    }
    product<kSum>();
  }

  /// A store of sums waits for the last product into its tile. Stored one by one between the next block's first products they
  /// cost nothing; stored together they would drain the tile unit (52 cycles a block, measured).
  template <bool kCarried>
  [[gnu::always_inline]] void first_step() {
    load_lhs<4>(lhs_);
    Tiles::template load<6>(rhs_, kRowBytes);
    first_product<0, kCarried>();
    Tiles::template load<7>(rhs_ + kTileBytes, kRowBytes);
    first_product<1, kCarried>();
    if constexpr (kRowTiles == 2) load_lhs<5>(lhs_ + kTileBytes);
    first_product<2, kCarried>();
    first_product<3, kCarried>();
  }

  /// A further step, with kRows0.. of the pending rows from kRow on behind its products (half of them with one tile of rows).
  template <int kRow, int kRows0, int kRows1, int kRows2, int kRows3>
  [[gnu::always_inline]] void step() {
    lhs_ += kGranuleBytes;
    rhs_ += kGranuleBytes;
    load_lhs<4>(lhs_);
    Tiles::template load<6>(rhs_, kRowBytes);
    product<0>();
    rows<kRow, kRow + kRows0>();
    Tiles::template load<7>(rhs_ + kTileBytes, kRowBytes);
    product<1>();
    rows<kRow + kRows0, kRow + kRows0 + kRows1>();
    if constexpr (kRowTiles == 2) load_lhs<5>(lhs_ + kTileBytes);
    product<2>();
    rows<kRow + kRows0 + kRows1, kRow + kRows0 + kRows1 + kRows2>();
    product<3>();
    rows<kRow + kRows0 + kRows1 + kRows2, kRow + kRows0 + kRows1 + kRows2 + kRows3>();
  }

  /// Scales and adds pending rows [kFirst, kLast), as far as the block has them.
  template <int kFirst, int kLast>
  [[gnu::always_inline]] void rows() {
    if constexpr (kSettle != Settle() && kFirst < kLast && kFirst < kRows) {
      row(kFirst);
      rows<kFirst + 1, kLast>();
    }
  }

  [[gnu::always_inline]] void all_rows() {
    if constexpr (kSettle != Settle()) {
      for (int r = 0; r < kRows; ++r) row(r);
    }
  }

  /// 32 columns of a row.
  struct Row {
    __m512 low;
    __m512 high;
  };

  [[gnu::always_inline]] static Row loaded(const float* at) { return {_mm512_loadu_ps(at), _mm512_loadu_ps(at + 16)}; }

  [[gnu::always_inline]] static Row sums_of(const Segment& s, int r) {
    const float* sums = s.sums + r * kBlock;
    return {load_sums<kSums>(sums), load_sums<kSums>(sums + 16)};
  }

  [[gnu::always_inline]] static Row added(const Segment& s, const Row& cols, int r, const Row& to) {
    const __m512 scale = _mm512_set1_ps(s.row_scales[r]);
    const Row sums = sums_of(s, r);
    return {_mm512_fmadd_ps(_mm512_mul_ps(scale, cols.low), sums.low, to.low),
            _mm512_fmadd_ps(_mm512_mul_ps(scale, cols.high), sums.high, to.high)};
  }

  [[gnu::always_inline]] void row(int r) {
    float* acc = nullptr;
    if constexpr (kSettle.adds || !kSettle.out) acc = pending_.acc + r * kBlock;
    Row sums{_mm512_setzero_ps(), _mm512_setzero_ps()};
    if constexpr (kSettle.adds) sums = loaded(acc);
    for (std::size_t i = 0; i < kEarlier; ++i) sums = added(pending_.earlier[i], earlier_cols_[i], r, sums);
    if constexpr (kSettle.segments > 0) {
      sums = added(pending_.last, last_cols_, r, sums);
    } else {
      sums = sums_of(pending_.last, r);
    }
    if constexpr (kSettle.out) return out_.write(avx512::Sums(sums.low, sums.high), pending_.out + r * out_.row_bytes);
    _mm512_storeu_ps(acc, sums.low);
    _mm512_storeu_ps(acc + 16, sums.high);
  }

  const std::byte* lhs_;
  const std::byte* rhs_;
  const float* start_;
  const Pending pending_;
  const avx512::OutRows& out_;
  Row last_cols_;
  std::array<Row, kEarlier> earlier_cols_;
};

}  // namespace
}  // namespace ragdot::cpu::amx

RAGDOT_TARGET_END
