// Folds e8m0 scales into bf16 values: a power of two only moves the exponent. One scale for a whole granule is decoded with its
// values, one for each of its outer elements is folded before they are stored, others are folded in the panel.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/isa/avx512/decode.hpp"
#include "cpu/isa/target.hpp"
#include "cpu/side.hpp"
#include "format/fault.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512VBMI)

namespace ragdot::cpu::avx512 {
namespace {

/// A granule: 32 outer elements x 32 elements of depth in two tiles of 16 rows of 16 dwords; a dword holds two values of depth.
inline constexpr std::int64_t kGranuleOuters = 32;
inline constexpr std::int64_t kTileBytes = 1024;
inline constexpr std::int64_t kGranuleBytes = 2 * kTileBytes;
inline constexpr std::int64_t kRowBytes = 64;

/// lhs: a row of a tile is an outer element, its dwords are pairs of depth. rhs: a row is a pair, its dwords are outer
/// elements.
enum class Role : std::int32_t { lhs, rhs };

/// Which two positions of a 32-deep step share dword i: low half, high half.
struct Pairing {
  std::array<std::uint8_t, 16> low{};
  std::array<std::uint8_t, 16> high{};
};

/// The bf16 value `bits` times 2^(code - 127): Inf above bf16's range, zero below its normal range, NaN for code 255.
inline std::uint16_t folded(std::uint16_t bits, std::uint8_t code) {
  constexpr std::uint16_t kSign = 0x8000;
  constexpr std::uint16_t kInf = 0x7f80;
  const auto magnitude = static_cast<std::uint16_t>(bits & 0x7fff);
  if (code == 255 || magnitude > kInf) return 0x7fc0;
  if (magnitude == 0 || magnitude == kInf) return bits;
  const int exponent = (magnitude >> 7) + code - 127;
  if (exponent <= 0) return bits & kSign;
  if (exponent >= 255) return static_cast<std::uint16_t>((bits & kSign) | kInf);
  return static_cast<std::uint16_t>((bits & 0x807f) | exponent << 7);
}

/// Codes that leave every finite nonzero FP8 value, whose bf16 exponent field lies between 111 and 142, in bf16's normal range.
inline constexpr std::uint8_t kLeastNear = 127 - 110;
inline constexpr std::uint8_t kMostNear = 127 + 112;

inline bool is_near(std::uint8_t code) { return code >= kLeastNear && code <= kMostNear; }

/// What moved() adds for a near code.
inline int steps_of(std::uint8_t code) { return (code - 127) * 128; }

inline __mmask32 first_lanes(std::int64_t count) { return static_cast<__mmask32>((std::uint64_t{1} << count) - 1); }

/// Codes of the granule's outer elements for depth `depth`.
inline void gather_codes(const Side& side, std::int64_t outer, std::int64_t outers, std::int64_t depth, std::uint8_t* codes) {
  const std::byte* at = side.scale(outer, depth);
  if (side.outer_grid.block == 1 && side.scale_outer_stride == 1 && !fault::on(fault::Id::e8m0_bias_off_by_one)) {
    const __mmask32 within = first_lanes(outers);
    return _mm256_mask_storeu_epi8(codes, within, _mm256_maskz_loadu_epi8(within, at));
  }
  std::int64_t run = side.outer_grid.next_cut(outer) - outer;
  for (std::int64_t i = 0; i < outers; at += side.scale_outer_stride, run = side.outer_grid.block) {
    const std::int64_t end = run < outers - i ? i + run : outers;
    auto code = std::to_integer<std::uint8_t>(*at);
    if (fault::on(fault::Id::e8m0_bias_off_by_one)) --code;
    std::fill(codes + i, codes + end, code);
    i = end;
  }
}

/// Lanes whose position of depth lies in [begin, end), for a row that holds all pairs.
inline __mmask32 lanes_of(const Pairing& pairing, std::int64_t begin, std::int64_t end) {
  if (begin == 0 && end >= 32) return ~__mmask32{0};
  __mmask32 lanes = 0;
  for (std::size_t i = 0; i < 16; ++i) {
    if (pairing.low[i] >= begin && pairing.low[i] < end) lanes |= 1U << (2 * i);
    if (pairing.high[i] >= begin && pairing.high[i] < end) lanes |= 2U << (2 * i);
  }
  return lanes;
}

inline void add_to_row(std::byte* row, __m512i steps, __mmask32 lanes) {
  _mm512_store_si512(row, moved(_mm512_load_si512(row), steps, lanes));
}

/// One scale for each outer element, over the positions [begin, end) of the granule's depth; all codes move exponents within
/// bf16's range.
template <Role kRole>
void fold_near(std::byte* granule, const Pairing& pairing, const std::uint8_t* codes, std::int64_t begin, std::int64_t end) {
  const __mmask32 lanes = lanes_of(pairing, begin, end);
  if constexpr (kRole == Role::lhs) {
    for (int r = 0; r < kGranuleOuters; ++r) {
      add_to_row(granule + r * kRowBytes, _mm512_set1_epi16(static_cast<std::int16_t>((codes[r] - 127) * 128)), lanes);
    }
  } else {
    for (int tile = 0; tile < 2; ++tile) {
      const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + 16 * tile)));
      const __m512i steps = _mm512_slli_epi32(_mm512_sub_epi32(wide, _mm512_set1_epi32(127)), 7);
      const __m512i both = _mm512_or_si512(_mm512_and_si512(steps, _mm512_set1_epi32(0xffff)), _mm512_slli_epi32(steps, 16));
      for (int r = 0; r < 16; ++r) {
        const __mmask32 halves = (lanes >> (2 * r)) & 3U;
        if (halves != 0) add_to_row(granule + tile * kTileBytes + r * kRowBytes, both, halves * 0x55555555U);
      }
    }
  }
}

/// The same for any codes, one value after the other.
template <Role kRole>
void fold_far(std::byte* granule, const Pairing& pairing, const std::uint8_t* codes, std::int64_t begin, std::int64_t end) {
  const __mmask32 lanes = lanes_of(pairing, begin, end);
  for (int outer = 0; outer < kGranuleOuters; ++outer) {
    for (int lane = 0; lane < 32; ++lane) {
      if ((lanes >> lane & 1U) == 0) continue;
      const int row = kRole == Role::lhs ? outer % 16 : lane / 2;
      const int dword = kRole == Role::lhs ? lane / 2 : outer % 16;
      std::byte* at = granule + outer / 16 * kTileBytes + row * kRowBytes + dword * 4 + lane % 2 * 2;
      std::uint16_t bits = 0;
      std::memcpy(&bits, at, sizeof bits);
      bits = folded(bits, codes[outer]);
      std::memcpy(at, &bits, sizeof bits);
    }
  }
}

/// How far the exponents of a granule move: steps as in moved(), one number for all or one for each outer element.
struct Moves {
  int all = 0;
  const std::int16_t* each = nullptr;  // 32, aligned; used instead of `all` where it is there
};

/// The scales of an operand, from granule to granule. A granule is named by its first outer element and depth and its extents.
template <Role kRole>
class Folder {
 public:
  Folder(const Side& side, const Pairing& pairing) : side_(side), pairing_(pairing) {}

  /// True when each outer element of a granule has one scale that moves exponents within bf16's range: then `moves` says how
  /// far, and nothing is left to fold once the values have been decoded with it.
  bool moves(std::int64_t outer, std::int64_t outers, std::int64_t depth, std::int64_t depths, Moves& moves) {
    read(outer, outers, depth);
    const bool cut = depth + depths > end_ && !fault::on(fault::Id::granule_scale_change_missed);
    if (!near_ || cut) return false;
    if (alike_) {
      moves.all = fault::on(fault::Id::granule_scale_dropped) ? 0 : steps_of(codes_[0]);
    } else {
      moves.each = steps_.data();
    }
    return true;
  }

  /// Folds into decoded values.
  void fold(std::int64_t outer, std::int64_t outers, std::int64_t depth, std::int64_t depths, std::byte* granule) {
    for (std::int64_t at = depth; at < depth + depths; at = end_) {
      read(outer, outers, at);
      const std::int64_t end = std::min(end_, depth + depths);
      (near_ ? fold_near<kRole> : fold_far<kRole>)(granule, pairing_, codes_.data(), at - depth, end - depth);
    }
  }

 private:
  /// Reads the codes of `outers` outer elements at `depth`, unless they were the last ones read.
  void read(std::int64_t outer, std::int64_t outers, std::int64_t depth) {
    if (outer == outer_ && outers == outers_ && depth >= begin_ && depth < end_) return;
    outer_ = outer;
    outers_ = outers;
    begin_ = depth;
    end_ = side_.depth_grid.next_cut(depth);
    codes_.fill(127);
    gather_codes(side_, outer, outers, depth, codes_.data());
    const __m256i codes = _mm256_load_si256(reinterpret_cast<const __m256i*>(codes_.data()));
    const __mmask32 within = first_lanes(outers);
    near_ = (_mm256_cmplt_epu8_mask(codes, _mm256_set1_epi8(static_cast<char>(kLeastNear))) |
             _mm256_cmpgt_epu8_mask(codes, _mm256_set1_epi8(static_cast<char>(kMostNear)))) == 0 ||
            fault::on(fault::Id::far_codes_folded_as_near);
    alike_ = (_mm256_cmpneq_epi8_mask(codes, _mm256_set1_epi8(static_cast<char>(codes_[0]))) & within) == 0;
    const __m512i exponents = _mm512_sub_epi16(_mm512_cvtepu8_epi16(codes), _mm512_set1_epi16(127));
    _mm512_store_si512(steps_.data(), _mm512_slli_epi16(exponents, 7));
  }

  const Side& side_;
  const Pairing& pairing_;
  std::int64_t outer_ = -1;
  std::int64_t outers_ = 0;
  std::int64_t begin_ = 0;  // the depths that the codes are for
  std::int64_t end_ = 0;
  bool near_ = false;
  bool alike_ = false;
  alignas(32) std::array<std::uint8_t, kGranuleOuters> codes_;
  alignas(64) std::array<std::int16_t, kGranuleOuters> steps_;  // of the exponents, shifted into place
};

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
