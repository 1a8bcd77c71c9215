// Even and odd chains of a row live in registers from a chunk's first element to its last; weights go from memory to the
// chains.
#include "cpu/isa/avx512/few_rows.hpp"

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/isa/avx512/floats.hpp"
#include "cpu/isa/avx512/lanes.hpp"
#include "cpu/isa/avx512/pack.hpp"
#include "cpu/isa/avx512/pack_vbmi.hpp"
#include "cpu/isa/avx512/store.hpp"
#include "cpu/isa/avx512/sums.hpp"
#include "cpu/isa/chains/panels.hpp"
#include "cpu/isa/features.hpp"
#include "cpu/item.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512VBMI)

namespace ragdot::cpu::avx512 {
namespace {

static_assert(kPackedCols == kStripCols);

/// The blocks of packed weights that are multiplied together, from some depth on.
using Blocks = std::array<const std::byte*, 2>;

/// One row's vectors of 16 columns.
template <int kCount>
struct Vectors {
  __m512 of[kCount] = {};
};

/// 32 bf16 values a row, of one block: those of even columns, then those of odd ones.
struct Bf16Weights {
  explicit Bf16Weights(int /*steps: scales belong to FP8*/ = 0) {}

  static constexpr int kVectors = 2;
  static constexpr int kBlocks = 1;
  static constexpr int kMostRows = 4;
  static constexpr std::int64_t kRowBytes = 2 * kPackedCols;
  using Row = Vectors<kVectors>;

  [[gnu::always_inline]] Row row(const Blocks& blocks, std::int64_t depth) const {
    const __m512i pairs = _mm512_loadu_si512(blocks[0] + depth * kRowBytes);
    return {{lower_halves(pairs), upper_halves(pairs)}};
  }

  /// Asks for what follows rows `depth` and `depth` + 1.
  [[gnu::always_inline]] static void fetch(const Blocks& blocks, std::int64_t depth) {
    fetch_ahead(blocks[0] + depth * kRowBytes);
    fetch_ahead(blocks[0] + (depth + 1) * kRowBytes);
  }

  static Row in_order(const Row& sums) {
    const __m512i first = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    return {{_mm512_permutex2var_ps(sums.of[0], first, sums.of[1]), _mm512_permutex2var_ps(sums.of[0], second, sums.of[1])}};
  }
  static Row out_of_order(const Row& columns) {
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    return {{_mm512_permutex2var_ps(columns.of[0], even, columns.of[1]),
             _mm512_permutex2var_ps(columns.of[0], odd, columns.of[1])}};
  }
};

/// 32 codes a row of each of two blocks. Unpacking the bytes of their values leaves columns 0 to 7 and 16 to 23 of both blocks
/// in one pair of vectors, the others in a second one.
template <Format kFormat>
class Fp8Weights {
 public:
  explicit Fp8Weights(int steps = 0) : tables_(steps) {}

  static constexpr int kVectors = 4;
  static constexpr int kBlocks = 2;
  static constexpr int kMostRows = 2;
  static constexpr std::int64_t kRowBytes = kPackedCols;
  using Row = Vectors<kVectors>;

  [[gnu::always_inline]] Row row(const Blocks& blocks, std::int64_t depth) const {
    const auto codes = [&](const std::byte* block) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + depth * kRowBytes));
    };
    __m512i low;
    __m512i high;
    tables_(_mm512_inserti64x4(_mm512_castsi256_si512(codes(blocks[0])), codes(blocks[1]), 1), low, high);
    const __m512i first = _mm512_unpacklo_epi8(low, high);
    const __m512i second = _mm512_unpackhi_epi8(low, high);
    return {{lower_halves(first), upper_halves(first), lower_halves(second), upper_halves(second)}};
  }

  /// Asks for what follows rows `depth` and `depth` + 1: a line of each block.
  [[gnu::always_inline]] static void fetch(const Blocks& blocks, std::int64_t depth) {
    for (const std::byte* block : blocks) fetch_ahead(block + depth * kRowBytes);
  }

  static Row in_order(const Row& sums) {
    return lanes_exchanged({{_mm512_unpacklo_ps(sums.of[0], sums.of[1]), _mm512_unpackhi_ps(sums.of[0], sums.of[1]),
                             _mm512_unpacklo_ps(sums.of[2], sums.of[3]), _mm512_unpackhi_ps(sums.of[2], sums.of[3])}});
  }
  static Row out_of_order(const Row& columns) {
    const Row quads = lanes_exchanged(columns);
    return {{_mm512_shuffle_ps(quads.of[0], quads.of[1], 0x88), _mm512_shuffle_ps(quads.of[0], quads.of[1], 0xdd),
             _mm512_shuffle_ps(quads.of[2], quads.of[3], 0x88), _mm512_shuffle_ps(quads.of[2], quads.of[3], 0xdd)}};
  }

 private:
  static Row lanes_exchanged(const Row& row) {
    __m512i v[kVectors];
    for (std::size_t i = 0; i < kVectors; ++i) v[i] = _mm512_castps_si512(row.of[i]);
    exchange_lanes(v[0], v[1], v[2], v[3]);
    return {{_mm512_castsi512_ps(v[0]), _mm512_castsi512_ps(v[1]), _mm512_castsi512_ps(v[2]), _mm512_castsi512_ps(v[3])}};
  }

  ByteTables<kFormat> tables_;
};

/// The product of one call. `Weights` says how a row of them becomes vectors of f32, and in which order columns stand there.
template <class Weights, int kRows>
class Product {
 public:
  Product(const MultiplyJob& job, const PackJob& weights)
      : job_(job), out_(job), packed_(weights), begin_(job.pieces.front().begin) {
    const std::int64_t depth = job.pieces.back().end - begin_;
    for (std::size_t r = 0; r < kRows; ++r) {
      const std::byte* row = chains::DwordPanels<1>::lhs_row(job.lhs_panel, depth, static_cast<std::int64_t>(r), 0);
      lhs_[r] = reinterpret_cast<const float*>(row);
    }
  }

  void run() {
    for (std::int64_t col = 0; col < job_.cols; col += Weights::kBlocks * kPackedCols) {
      const bool both = Weights::kBlocks == 2 && col + kPackedCols < job_.cols;
      const std::int64_t second = both && !fault::on(fault::Id::few_rows_second_block_is_the_first) ? kPackedCols : 0;
      const Side& side = *packed_.side;
      const std::int64_t outer = packed_.outer + col;
      columns({side.value(outer, 0), side.value(outer + second, 0)}, col,
              both || Weights::kBlocks == 1 ? Weights::kVectors : 2);
    }
  }

 private:
  using Row = typename Weights::Row;
  struct Rows {
    Row of[kRows];
  };

  /// All pieces for the columns from `col` on: the first `vectors` vectors of 16.
  void columns(const Blocks& blocks, std::int64_t col, int vectors) {
    std::int64_t ended = 0;
    for (const schedule::Piece& piece : job_.pieces) {
      Rows sums;
      if (!piece.first) carry(sums, col, vectors);
      for (std::int64_t at = piece.begin; at < piece.end; at += schedule::kChunk) {
        if (at == piece.begin || at >= folded_until_) fold(packed_.outer + col, at);
        add_chunk(blocks, at, std::min(schedule::kChunk, piece.end - at), sums);
      }
      end_piece(piece, sums, col, vectors, ended);
      if (piece.last) ++ended;
    }
  }

  /// Decodes with the power of two that stands for the chunks from `depth` on.
  void fold(std::int64_t outer, std::int64_t depth) {
    const Side& side = *packed_.side;
    folded_until_ = kWholeAxis;
    if (!side.folds()) return;
    weights_ = Weights(steps_of(std::to_integer<std::uint8_t>(*side.scale(outer, depth))));
    if (!fault::on(fault::Id::few_rows_first_scale_for_all_depths)) folded_until_ = side.depth_grid.next_cut(depth);
  }

  void carry(Rows& sums, std::int64_t col, int vectors) const {
    for (std::size_t r = 0; r < kRows; ++r) {
      Row columns;
      for (std::size_t v = 0; static_cast<int>(v) < vectors; ++v)
        columns.of[v] = out_.carried(static_cast<std::int64_t>(r), col_of(v, col));
      sums.of[r] = Weights::out_of_order(columns);
    }
  }

  /// sums += e + o.
  [[gnu::always_inline]] void add_chunk(const Blocks& blocks, std::int64_t begin, std::int64_t depths, Rows& sums) const {
    Rows chains[2];
    std::int64_t i = 0;
    for (; i + 1 < depths; i += 2) {
      Weights::fetch(blocks, begin + i);
      step(blocks, begin + i, chains[0]);
      step(blocks, begin + i + 1, chains[1]);
    }
    if (i < depths) step(blocks, begin + i, chains[fault::on(fault::Id::few_rows_last_even_in_odd_chain) ? 1 : 0]);
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (std::size_t v = 0; v < Weights::kVectors; ++v)
        sums.of[r].of[v] = Floats::add(sums.of[r].of[v], Floats::add(chains[0].of[r].of[v], chains[1].of[r].of[v]));
    }
  }

  /// chain += element `depth` of each row times that row of weights.
  [[gnu::always_inline]] void step(const Blocks& blocks, std::int64_t depth, Rows& chain) const {
    const Row weights = weights_.row(blocks, depth);
#pragma GCC unroll 4
    for (std::size_t r = 0; r < kRows; ++r) {
      const auto value = Floats::spread(lhs_[r] + (depth - begin_));
#pragma GCC unroll 4
      for (std::size_t v = 0; v < Weights::kVectors; ++v)
        chain.of[r].of[v] = Floats::fma(value, weights.of[v], chain.of[r].of[v]);
    }
  }

  /// Adds what a segment came to, or keeps what there is of it.
  void end_piece(const schedule::Piece& piece, const Rows& sums, std::int64_t col, int vectors, std::int64_t ended) {
    for (std::size_t r = 0; r < kRows; ++r) {
      const Row row = Weights::in_order(sums.of[r]);
      for (std::size_t v = 0; static_cast<int>(v) < vectors; ++v)
        out_.end(piece, ended, static_cast<std::int64_t>(r), col_of(v, col), row.of[v]);
    }
  }

  /// The first column of vector `v` from column `col` on.
  static std::int64_t col_of(std::size_t v, std::int64_t col) { return col + Floats::kLanes * static_cast<std::int64_t>(v); }

  const MultiplyJob& job_;
  const StripSums out_;
  const PackJob& packed_;
  const std::int64_t begin_;
  Weights weights_;
  std::int64_t folded_until_ = 0;
  std::array<const float*, kRows> lhs_{};  // element `begin_` and those behind it
};

template <class Weights>
void multiply_rows(const MultiplyJob& job, const PackJob& weights) {
  switch (job.rows) {
    case 1: return Product<Weights, 1>(job, weights).run();
    case 2: return Product<Weights, 2>(job, weights).run();
    default: break;
  }
  if constexpr (Weights::kMostRows == 4) {
    job.rows == 3 ? Product<Weights, 3>(job, weights).run() : Product<Weights, 4>(job, weights).run();
  }
}

void multiply(const MultiplyJob& job, const PackJob& weights) {
  switch (weights.side->format) {
    case Format::e4m3: multiply_rows<Fp8Weights<Format::e4m3>>(job, weights); break;
    case Format::e5m2: multiply_rows<Fp8Weights<Format::e5m2>>(job, weights); break;
    default: multiply_rows<Bf16Weights>(job, weights); break;
  }
  if (job.store != nullptr) store(*job.store);
}

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END

namespace ragdot::cpu::avx512 {

namespace {

bool cut_at_multiples(const schedule::AxisGrid& grid, std::int64_t unit) {
  return grid.block == kWholeAxis || (grid.block % unit == 0 && grid.phase == 0);
}

}  // namespace

bool segments_end_with_chunks(const Item& item) {
  return cut_at_multiples(item.lhs.cuts(), schedule::kChunk) && cut_at_multiples(item.rhs.depth_grid, schedule::kChunk);
}

bool decodes_by_table(const Item& item, std::int64_t cols) {
  const Side& side = item.rhs;
  if (!segments_end_with_chunks(item)) return false;
  if (!side.folds()) return true;
  if (!cut_at_multiples(side.outer_grid, cols) || item.col % cols != 0) return false;
  for (std::int64_t outer = item.col; outer < item.col + item.cols; outer = side.outer_grid.next_cut(outer)) {
    for (std::int64_t depth = 0; depth < item.depth; depth = side.depth_grid.next_cut(depth)) {
      if (!is_near(std::to_integer<std::uint8_t>(*side.scale(outer, depth)))) return false;
    }
  }
  return true;
}

namespace {

/// FP8 weights are decoded anew for all rows, so two rows are as many as registers hold the chains of.
std::int64_t most_rows(Format weights) {
  if (!features().avx512vbmi) return 0;
  switch (weights) {
    case Format::bf16: return Bf16Weights::kMostRows;
    case Format::e4m3:
    case Format::e5m2: return Fp8Weights<Format::e4m3>::kMostRows;
    default: return 0;
  }
}

bool takes(const Item& item) {
  constexpr std::int64_t kBothBlocks = 2 * kPackedCols;
  return !item.rhs.folds() || decodes_by_table(item, kBothBlocks);
}

}  // namespace

constinit const FewRows kFewPackedRows = {.weights = plan::Weights::packed,
                                          .tile_depth = kMostDepth,
                                          .most_rows = most_rows,
                                          .takes = takes,
                                          .pack_lhs = pack_lhs_vbmi,
                                          .multiply = multiply};

}  // namespace ragdot::cpu::avx512
