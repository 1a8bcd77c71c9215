// VPDPBUSD adds four products of an unsigned and a signed byte to a lane. So lhs has 128 added while it is packed, and sums
// begin at what takes that away again. A file of its own, as a target region holds one set of templates.
#include "cpu/isa/avx512/quads_vnni.hpp"

#include "cpu/isa/intrinsics.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "cpu/isa/avx512/floats.hpp"
#include "cpu/isa/avx512/granules.hpp"
#include "cpu/isa/avx512/pack.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512QUADS)

#include "cpu/isa/chains/multiply.hpp"

namespace ragdot::cpu::avx512 {
namespace {

static_assert(kQuadsDepth == I8Source::kStep);

constexpr Pairing kNoPairs = {};

struct I8Quads : Integers {
  using Floats = avx512::Floats;
  using Panels = GranulePanels<kQuadsDepth>;
  static constexpr bool kIntegers = true;
  static constexpr bool kHasRuns = false;
  static constexpr std::int64_t kQuad = 4;

  static Vector dot(Vector sum, Vector a, Vector b) { return _mm512_dpbusd_epi32(sum, a, b); }

  /// For each column what takes away 128 times the sum of its rhs values. All sums are exact modulo 2^32, and so is the result.
  static void find_starts(const std::byte* rhs, std::int64_t depth, chains::Starts& starts) {
    const std::byte* bias[1] = {kBias.data()};
    chains::Sums<I8Quads, 1> sums;
    chains::fill<I8Quads, 1>(sums, zero());
    for (std::int64_t quad = 0; quad < schedule::ceil_div(depth, kQuad); ++quad)
      chains::step<I8Quads, 1>(bias, 0, rhs + place_of(quad), sums);
    for (int v = 0; v < 2; ++v) store(starts.data() + v * kLanes, _mm512_sub_epi32(zero(), sums[0][v]));
  }

  /// p += the whole turn.
  template <int kRows>
  [[gnu::always_inline]] static void add_chunks(const chains::Turn& turn, std::int64_t row, std::int64_t /*col: the strip*/,
                                                chains::Sums<I8Quads, kRows>& p) {
    const std::byte* lhs[kRows];
    for (int r = 0; r < kRows; ++r) lhs[r] = Panels::lhs_row(turn.lhs_panel, turn.panel_depth, turn.row + row + r, turn.at);
    const Vector starts[2] = {load(turn.starts->data()), load(turn.starts->data() + kLanes)};
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      p[r][0] = add(p[r][0], starts[0]);
      p[r][1] = add(p[r][1], starts[1]);
    }
    const std::byte* rhs = turn.rhs;
    std::int64_t at = 0;
    const auto add_granule = [&](std::int64_t quads) __attribute__((always_inline)) {
      for (std::int64_t quad = 0; quad < quads; ++quad)
        chains::step<I8Quads, kRows>(lhs, at + quad * kQuad, rhs + quad * kRowBytes, p);
      at += kGranuleBytes;
      rhs += kGranuleBytes;
    };
    std::int64_t left = turn.depth;
    for (; left >= kQuadsDepth; left -= kQuadsDepth) add_granule(kQuadsDepth / kQuad);
    if (left > 0) add_granule(schedule::ceil_div(left, kQuad) - (fault::on(fault::Id::quads_last_dropped) ? 1 : 0));
  }

 private:
  alignas(4) static constexpr std::array<std::byte, kQuad> kBias = {std::byte{128}, std::byte{128}, std::byte{128},
                                                                    std::byte{128}};

  static std::int64_t place_of(std::int64_t quad) {
    constexpr std::int64_t kQuads = kQuadsDepth / kQuad;
    return quad / kQuads * kGranuleBytes + quad % kQuads * kRowBytes;
  }
};

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END

namespace ragdot::cpu::avx512 {

std::int64_t quads_panel_bytes(std::int64_t outers, std::int64_t depth) {
  return granule_panel_bytes(outers, depth / kQuadsDepth);
}
void pack_lhs_quads(const PackJob& job) { pack_source<QuadSource<true>, Role::lhs, kNoPairs>(job); }
void pack_rhs_quads(const PackJob& job) { pack_source<QuadSource<false>, Role::rhs, kNoPairs>(job); }
void multiply_quads(const MultiplyJob& job) { chains::multiply<I8Quads>(job); }

}  // namespace ragdot::cpu::avx512
