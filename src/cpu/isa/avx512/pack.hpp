// Packs operands into granules of bf16 pairs (or int8 quads), whatever the storage order: decode, pair, transpose where needed.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "cpu/isa/avx512/decode.hpp"
#include "cpu/isa/avx512/fold.hpp"
#include "cpu/isa/avx512/lanes.hpp"
#include "cpu/isa/target.hpp"
#include "cpu/kernel.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512VBMI)

namespace ragdot::cpu::avx512 {
namespace {

/// A panel: blocks of 32 outer elements; in a block a granule for each step of depth, 32 elements deep (64 of int8).
inline std::int64_t granule_panel_bytes(std::int64_t outers, std::int64_t steps) {
  return schedule::ceil_div(outers, kGranuleOuters) * steps * kGranuleBytes;
}

/// The part of an operand that one granule holds.
struct Patch {
  const std::byte* at = nullptr;
  std::int64_t outer_bytes = 0;  // from element to element
  std::int64_t depth_bytes = 0;
  std::int64_t outers = 0;  // 1..32
  std::int64_t depths = 0;  // 1..32, of int8 1..64
  Moves moves = {};
};

enum class Storage : std::int32_t { depth_contiguous, outer_contiguous, strided };

inline Storage storage_of(const Side& side) {
  if (side.depth_stride == 1) return Storage::depth_contiguous;
  return side.outer_stride == 1 ? Storage::outer_contiguous : Storage::strided;
}

/// Whether a patch fills its granule: then nothing has to be masked. A run is full and its rows follow each other without gaps,
/// as those of packed weights do; what follows the patch is wanted next.
enum class Extent : std::int32_t { full, partial, run };

/// Packed weights come a quarter faster when they are asked for two pages ahead than as the hardware's prefetching brings them.
/// Beyond their end nothing is read: a prefetch never faults.
[[gnu::always_inline]] inline void fetch_ahead(const std::byte* at) {  // else g++ takes it for a function without effect
  constexpr std::int64_t kAhead = 8192;
  _mm_prefetch(at + kAhead, _MM_HINT_T0);
}

/// Rows of a patch along its contiguous axis; elements beyond its extents read as zero and are not touched.
template <Extent kExtent>
struct Rows {
  const std::byte* at;
  std::int64_t row_bytes;
  std::int64_t rows;
  __mmask32 lanes;  // of a row

  [[gnu::always_inline]] __m256i codes(std::int64_t row) const {
    if constexpr (kExtent != Extent::partial) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at + row * row_bytes));
    return row < rows ? _mm256_maskz_loadu_epi8(lanes, at + row * row_bytes) : _mm256_setzero_si256();
  }
  /// 32 codes of one row, then 32 of another.
  [[gnu::always_inline]] __m512i two(std::int64_t low, std::int64_t high) const {
    if constexpr (kExtent == Extent::run) {
      if (low % 2 == 0) fetch_ahead(at + low * kGranuleOuters);  // a line holds two rows
      if (high % 2 == 0) fetch_ahead(at + high * kGranuleOuters);
    }
    return _mm512_inserti64x4(_mm512_castsi256_si512(codes(low)), codes(high), 1);
  }
  [[gnu::always_inline]] __m512i bf16(std::int64_t row) const {
    if constexpr (kExtent == Extent::run) {
      fetch_ahead(at + row * kRowBytes);
      return _mm512_loadu_si512(at + row * kRowBytes);
    }
    if constexpr (kExtent == Extent::full) return _mm512_loadu_si512(at + row * row_bytes);
    return row < rows ? _mm512_maskz_loadu_epi16(lanes, at + row * row_bytes) : _mm512_setzero_si512();
  }
};

template <Extent kExtent>
Rows<kExtent> rows_by_outer(const Patch& p) {
  const std::int64_t depths = fault::on(fault::Id::granule_depth_tail_unmasked) ? 32 : p.depths;
  return {p.at, p.outer_bytes, p.outers, first_lanes(std::min<std::int64_t>(depths, 32))};
}
template <Extent kExtent>
Rows<kExtent> rows_by_depth(const Patch& p) {
  return {p.at, p.depth_bytes, p.depths, first_lanes(p.outers)};
}

/// Dwords of 16 rows change places.
template <class Row>
[[gnu::always_inline]] inline void transpose_rows(Row row, std::byte* to) {
  __m512i rows[16];
  for (std::size_t i = 0; i < 16; ++i) rows[i] = row(static_cast<std::int64_t>(i));
  transpose(rows);
  std::size_t exchanged = fault::on(fault::Id::granule_transpose_rows_exchanged) ? 4 : 0;
  for (std::size_t i = 0; i < 16; ++i) _mm512_store_si512(to + (i ^ exchanged) * kRowBytes, rows[i]);
}

/// Exchanges rows and dwords of a tile; `from` and `to` may be the same.
inline void transpose_tile(const std::byte* from, std::byte* to) {
  transpose_rows([from](std::int64_t i) { return _mm512_load_si512(from + i * kRowBytes); }, to);
}

/// Word i of a dword-paired row: position of depth.
constexpr std::uint8_t word_position(const Pairing& pairing, std::size_t i) {
  return i % 2 == 0 ? pairing.low[i / 2] : pairing.high[i / 2];
}

/// Whether pairs 2i and 2i + 1 are positions 4i .. 4i + 3, at the same places for all i.
constexpr bool pairs_share_dwords(const Pairing& pairing) {
  for (std::size_t i = 0; i < 16; ++i) {
    const std::size_t first = i / 2 * 4;
    if (pairing.low[i] != first + pairing.low[i % 2] || pairing.high[i] != first + pairing.high[i % 2]) return false;
  }
  return true;
}

/// 32 words in the order that `word(i)` names.
template <class Word>
constexpr std::array<std::uint16_t, 32> word_order(Word word) {
  std::array<std::uint16_t, 32> order{};
  for (std::size_t i = 0; i < 32; ++i) order[i] = static_cast<std::uint16_t>(word(i));
  return order;
}

/// Of two rows of 32 words: the pairs of the first 16 columns, and of the others.
inline constexpr auto kFirstColumns = word_order([](std::size_t i) { return i % 2 * 32 + i / 2; });
inline constexpr auto kSecondColumns = word_order([](std::size_t i) { return i % 2 * 32 + 16 + i / 2; });

/// 32 positions of depth, each pair of them side by side.
template <const Pairing& kPairing>
inline constexpr auto kPairedWords = word_order([](std::size_t i) { return word_position(kPairing, i); });

/// Of dwords of four codes, which are two pairs: the first pair of each, and the second.
template <const Pairing& kPairing>
inline constexpr ByteOrder kFirstPairs = byte_order([](std::size_t i) { return i / 2 * 4 + word_position(kPairing, i % 2); });
template <const Pairing& kPairing>
inline constexpr ByteOrder kSecondPairs =
    byte_order([](std::size_t i) { return i / 2 * 4 + word_position(kPairing, 2 + i % 2); });

/// FP8 codes in natural form: depth-contiguous patches give rows of one outer element, others rows of one pair.
template <Format kFormat>
struct Fp8Source {
  static constexpr std::int64_t kBytes = 1;
  static constexpr std::int64_t kStep = 32;

  template <const Pairing& kPairing, Extent kExtent>
  static void by_outer(const Patch& p, std::byte* granule) {
    p.moves.each != nullptr ? by_outer<kPairing, kExtent, true>(p, granule) : by_outer<kPairing, kExtent, false>(p, granule);
  }

  template <const Pairing& kPairing, Extent kExtent>
  static void by_pair(const Patch& p, std::byte* granule) {
    p.moves.each != nullptr ? by_pair<kPairing, kExtent, true>(p, granule) : by_pair<kPairing, kExtent, false>(p, granule);
  }

  /// A whole granule of rhs from rows of one outer element: dwords of four codes, which are two pairs, change places before
  /// they are decoded.
  template <const Pairing& kPairing>
  static void turned(const Patch& p, std::byte* granule) {
    p.moves.each != nullptr ? turned<kPairing, true>(p, granule) : turned<kPairing, false>(p, granule);
  }

 private:
  template <const Pairing& kPairing, bool kEach>
  static void turned(const Patch& p, std::byte* granule) {
    static_assert(pairs_share_dwords(kPairing));
    const Decoder<kFormat> decode(kFirstPairs<kPairing>, kSecondPairs<kPairing>, p.moves.all);
    const Rows<Extent::full> rows = rows_by_outer<Extent::full>(p);
    for (std::int64_t tile = 0; tile < 2; ++tile, granule += kTileBytes) {
      const std::int64_t outer = 16 * tile;
      const __m512i steps = kEach ? both_halves(p.moves.each + outer) : _mm512_setzero_si512();
      __m512i early[4];  // of outer elements 0 to 7, two in a vector
      __m512i late[4];
      for (std::int64_t i = 0; i < 4; ++i) {
        early[i] = rows.two(outer + i, outer + i + 4);
        late[i] = rows.two(outer + i + 8, outer + i + 12);
      }
      transpose_lanes(early);
      transpose_lanes(late);
      const auto put = [&](__m512i codes, std::int64_t dword) __attribute__((always_inline)) {
        __m512i first;
        __m512i second;
        decode(codes, first, second);
        _mm512_store_si512(granule + 2 * dword * kRowBytes, kEach ? moved(first, steps) : first);
        _mm512_store_si512(granule + (2 * dword + 1) * kRowBytes, kEach ? moved(second, steps) : second);
      };
      const std::int64_t exchanged = fault::on(fault::Id::granule_transpose_rows_exchanged) ? 2 : 0;
      for (std::int64_t i = 0; i < 4; ++i) {
        put(_mm512_shuffle_i64x2(early[i], late[i], 0x88), i ^ exchanged);
        put(_mm512_shuffle_i64x2(early[i], late[i], 0xdd), (4 + i) ^ exchanged);
      }
    }
  }

  template <const Pairing& kPairing, Extent kExtent, bool kEach>
  static void by_outer(const Patch& p, std::byte* granule) {
    static constexpr ByteOrder kFirst = byte_order([](std::size_t i) { return word_position(kPairing, i); });
    static constexpr ByteOrder kSecond = byte_order([](std::size_t i) { return 32U + word_position(kPairing, i); });
    const Decoder<kFormat> decode(kFirst, kSecond, p.moves.all);
    const Rows<kExtent> rows = rows_by_outer<kExtent>(p);
    for (std::int64_t o = 0; o < kGranuleOuters; o += 2) {
      __m512i first;
      __m512i second;
      decode(rows.two(o, o + 1), first, second);
      if constexpr (kEach) {
        first = moved(first, _mm512_set1_epi16(p.moves.each[o]));
        second = moved(second, _mm512_set1_epi16(p.moves.each[o + 1]));
      }
      _mm512_store_si512(granule + o * kRowBytes, first);
      _mm512_store_si512(granule + (o + 1) * kRowBytes, second);
    }
  }

  template <const Pairing& kPairing, Extent kExtent, bool kEach>
  static void by_pair(const Patch& p, std::byte* granule) {
    static constexpr ByteOrder kFirst = byte_order([](std::size_t i) { return i % 2 * 32 + i / 2; });
    static constexpr ByteOrder kSecond = byte_order([](std::size_t i) { return i % 2 * 32 + 16 + i / 2; });
    const Decoder<kFormat> decode(kFirst, kSecond, p.moves.all);
    const Rows<kExtent> rows = rows_by_depth<kExtent>(p);
    const __m512i first_steps = kEach ? both_halves(p.moves.each) : _mm512_setzero_si512();
    const __m512i second_steps = kEach ? both_halves(p.moves.each + 16) : _mm512_setzero_si512();
    for (std::size_t i = 0; i < 16; ++i, granule += kRowBytes) {
      __m512i first;
      __m512i second;
      decode(rows.two(kPairing.low[i], kPairing.high[i]), first, second);
      _mm512_store_si512(granule, kEach ? moved(first, first_steps) : first);
      _mm512_store_si512(granule + kTileBytes, kEach ? moved(second, second_steps) : second);
    }
  }

  /// Each of 16 words as both halves of a dword.
  static __m512i both_halves(const std::int16_t* words) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(words)));
    return _mm512_or_si512(wide, _mm512_slli_epi32(wide, 16));
  }
};

struct Bf16Source {
  static constexpr std::int64_t kBytes = 2;
  static constexpr std::int64_t kStep = 32;

  template <const Pairing& kPairing, Extent kExtent>
  static void by_outer(const Patch& p, std::byte* granule) {
    static constexpr bool kInOrder = kPairedWords<kPairing> == word_order([](std::size_t i) { return i; });
    const __m512i words = _mm512_loadu_si512(kPairedWords<kPairing>.data());
    const Rows<kExtent> rows = rows_by_outer<kExtent>(p);
    for (std::int64_t o = 0; o < kGranuleOuters; ++o, granule += kRowBytes) {
      const __m512i row = rows.bf16(o);
      _mm512_store_si512(granule, kInOrder ? row : _mm512_permutexvar_epi16(words, row));
    }
  }

  /// A whole granule of rhs from rows of one outer element.
  template <const Pairing& kPairing>
  static void turned(const Patch& p, std::byte* granule) {
    const __m512i words = _mm512_loadu_si512(kPairedWords<kPairing>.data());
    const Rows<Extent::full> rows = rows_by_outer<Extent::full>(p);
    for (std::int64_t outer = 0; outer < kGranuleOuters; outer += 16, granule += kTileBytes)
      transpose_rows([&](std::int64_t i) { return _mm512_permutexvar_epi16(words, rows.bf16(outer + i)); }, granule);
  }

  template <const Pairing& kPairing, Extent kExtent>
  static void by_pair(const Patch& p, std::byte* granule) {
    const __m512i first = _mm512_loadu_si512(kFirstColumns.data());
    const __m512i second = _mm512_loadu_si512(kSecondColumns.data());
    const Rows<kExtent> rows = rows_by_depth<kExtent>(p);
    for (std::size_t i = 0; i < 16; ++i, granule += kRowBytes) {
      const __m512i low = rows.bf16(kPairing.low[i]);
      const __m512i high = rows.bf16(kPairing.high[i]);
      _mm512_store_si512(granule, _mm512_permutex2var_epi16(low, first, high));
      _mm512_store_si512(granule + kTileBytes, _mm512_permutex2var_epi16(low, second, high));
    }
  }
};

/// Byte 4c + j is outer element first + c at position j of the quad.
constexpr ByteOrder quad_order(std::size_t first) {
  ByteOrder order{};
  for (std::size_t i = 0; i < 64; ++i) order[i] = static_cast<std::uint8_t>(i % 4 * 32 + first + i / 4);
  return order;
}

/// int8 in quads: a dword holds four consecutive positions of depth. kBiased: with 128 added, as unsigned bytes.
template <bool kBiased>
struct QuadSource {
  static constexpr std::int64_t kBytes = 1;
  static constexpr std::int64_t kStep = 64;

  template <const Pairing&, Extent>
  static void by_outer(const Patch& p, std::byte* granule) {
    const __mmask64 lanes = p.depths == kStep ? ~__mmask64{0} : (__mmask64{1} << p.depths) - 1;
    for (std::int64_t o = 0; o < kGranuleOuters; ++o, granule += kRowBytes) {
      const __m512i row = o < p.outers ? _mm512_maskz_loadu_epi8(lanes, p.at + o * p.outer_bytes) : _mm512_setzero_si512();
      _mm512_store_si512(granule, biased(row));
    }
  }

  template <const Pairing&, Extent kExtent>
  static void by_pair(const Patch& p, std::byte* granule) {
    static constexpr ByteOrder kFirst = quad_order(0);
    static constexpr ByteOrder kSecond = quad_order(16);
    const __m512i first = _mm512_loadu_si512(kFirst.data());
    const __m512i second = _mm512_loadu_si512(kSecond.data());
    const Rows<kExtent> rows = rows_by_depth<kExtent>(p);
    for (std::int64_t d = 0; d < kStep; d += 4, granule += kRowBytes) {
      const __m512i low = rows.two(d, d + 1);
      const __m512i high = rows.two(d + 2, d + 3);
      _mm512_store_si512(granule, biased(_mm512_permutex2var_epi8(low, first, high)));
      _mm512_store_si512(granule + kTileBytes, biased(_mm512_permutex2var_epi8(low, second, high)));
    }
  }

 private:
  static __m512i biased(__m512i values) {
    return kBiased ? _mm512_xor_si512(values, _mm512_set1_epi8(static_cast<char>(0x80))) : values;
  }
};

using I8Source = QuadSource<false>;

/// Copies a patch without a contiguous axis to `dense`, depth-contiguous.
template <class Source>
Patch made_dense(const Patch& p, std::byte* dense) {
  for (std::int64_t o = 0; o < p.outers; ++o) {
    for (std::int64_t d = 0; d < p.depths; ++d) {
      std::memcpy(dense + (o * Source::kStep + d) * Source::kBytes, p.at + o * p.outer_bytes + d * p.depth_bytes,
                  Source::kBytes);
    }
  }
  return {dense, Source::kStep * Source::kBytes, Source::kBytes, p.outers, p.depths, p.moves};
}

template <class Source, Role kRole, const Pairing& kPairing, Extent kExtent>
void pack_patch(const Patch& p, Storage held, std::byte* granule) {
  constexpr Storage kNatural = kRole == Role::lhs ? Storage::depth_contiguous : Storage::outer_contiguous;
  alignas(64) std::array<std::byte, kGranuleBytes> turned;
  std::byte* natural = held == kNatural ? granule : turned.data();
  if (held == Storage::depth_contiguous) {
    Source::template by_outer<kPairing, kExtent>(p, natural);
  } else {
    Source::template by_pair<kPairing, kExtent>(p, natural);
  }
  if (natural == granule) return;
  transpose_tile(natural, granule);
  transpose_tile(natural + kTileBytes, granule + kTileBytes);
}

template <class Source, Role kRole, const Pairing& kPairing>
void pack_granule(const Patch& p, Storage storage, std::byte* granule) {
  if (storage == Storage::strided) {
    alignas(64) std::array<std::byte, kGranuleOuters * 64> dense;
    return pack_patch<Source, kRole, kPairing, Extent::partial>(made_dense<Source>(p, dense.data()), Storage::depth_contiguous,
                                                                granule);
  }
  if (p.outers == kGranuleOuters && p.depths == Source::kStep) {
    if constexpr (kRole == Role::rhs && requires { Source::template turned<kPairing>(p, granule); }) {
      if (storage == Storage::depth_contiguous) return Source::template turned<kPairing>(p, granule);
    }
    constexpr Storage kPacked = Storage::outer_contiguous;
    return kRole == Role::rhs && storage == kPacked && p.depth_bytes == kGranuleOuters * Source::kBytes
               ? pack_patch<Source, kRole, kPairing, Extent::run>(p, kPacked, granule)
               : pack_patch<Source, kRole, kPairing, Extent::full>(p, storage, granule);
  }
  pack_patch<Source, kRole, kPairing, Extent::partial>(p, storage, granule);
}

/// All granules of a job. Memory is read along its contiguous axis first.
template <class Source, Role kRole, const Pairing& kPairing>
void pack_source(const PackJob& job) {
  const Side& side = *job.side;
  const Storage storage = storage_of(side);
  std::int64_t steps = 0;
  for (const schedule::Piece& piece : job.pieces) steps += schedule::ceil_div(piece.depth(), Source::kStep);
  Patch patch;
  patch.outer_bytes = side.outer_stride * Source::kBytes;
  patch.depth_bytes = side.depth_stride * Source::kBytes;
  Folder<kRole> folder(side, kPairing);
  const auto granule = [&](std::int64_t outer, std::int64_t step, std::int64_t depth, std::int64_t end) {
    patch.at = side.value(job.outer + outer, depth);
    patch.outers = std::min(kGranuleOuters, job.count - outer);
    patch.depths = std::min(Source::kStep, end - depth);
    patch.moves = {};
    const bool folds = side.folds() && !folder.moves(job.outer + outer, patch.outers, depth, patch.depths, patch.moves);
    std::byte* at = job.panel + (outer / kGranuleOuters * steps + step) * kGranuleBytes;
    pack_granule<Source, kRole, kPairing>(patch, storage, at);
    if (folds) folder.fold(job.outer + outer, patch.outers, depth, patch.depths, at);
  };
  const auto over_depth = [&](std::int64_t first, std::int64_t last) {  // outer elements [first, last)
    std::int64_t step = 0;
    for (const schedule::Piece& piece : job.pieces) {
      for (std::int64_t depth = piece.begin; depth < piece.end; depth += Source::kStep, ++step) {
        for (std::int64_t outer = first; outer < last; outer += kGranuleOuters) granule(outer, step, depth, piece.end);
      }
    }
  };
  if (storage == Storage::outer_contiguous && !side.blocked()) return over_depth(0, job.count);
  for (std::int64_t outer = 0; outer < job.count; outer += kGranuleOuters)
    over_depth(outer, std::min(outer + kGranuleOuters, job.count));
}

/// Packs bf16, FP8 or int8 operands.
template <Role kRole, const Pairing& kPairing>
void pack(const PackJob& job) {
  switch (job.side->format) {
    case Format::e4m3: return pack_source<Fp8Source<Format::e4m3>, kRole, kPairing>(job);
    case Format::e5m2: return pack_source<Fp8Source<Format::e5m2>, kRole, kPairing>(job);
    case Format::bf16: return pack_source<Bf16Source, kRole, kPairing>(job);
    case Format::i8: return pack_source<I8Source, kRole, kPairing>(job);
    default: break;  // the kernel has declined it
  }
}

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
