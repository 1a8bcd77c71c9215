// Finished sums to contiguous rows of out, 32 at a time.
#pragma once

#include "cpu/isa/intrinsics.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/isa/avx512/finish.hpp"
#include "cpu/isa/target.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"
#include "format/minifloat.hpp"

RAGDOT_TARGET_BEGIN(RAGDOT_TARGET_AVX512)

namespace ragdot::cpu::avx512 {
namespace {

/// Columns of a strip of sums.
inline constexpr std::int64_t kStripCols = 32;

enum class Zeros { canonical, kept };

/// The canonical NaN for every NaN and +0 for every zero, or zeros as they are.
inline __m512i canonical(__m512 sums, Zeros zeros = Zeros::canonical) {
  // For each class of values a token of 4 bits: QNaN, SNaN, zero, one, -inf, +inf, negative, positive.
  constexpr int kKeepNan = 0x0;  // the first operand
  constexpr int kValue = 0x1;
  constexpr int kPlusZero = 0x8;
  int zero = zeros == Zeros::kept || fault::on(fault::Id::negative_zero_kept) ? kValue : kPlusZero;
  const int tokens = kKeepNan | kKeepNan << 4 | zero << 8 | 0x11111 << 12;
  const __m512 nan = _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(format::kF32Nan)));
  return _mm512_castps_si512(_mm512_fixupimm_ps(nan, sums, _mm512_set1_epi32(tokens), 0));
}

/// 32 finished sums.
struct Sums {
  __m512i low;
  __m512i high;

  explicit Sums(const float* at) : Sums(_mm512_loadu_ps(at), _mm512_loadu_ps(at + 16)) {}
  Sums(__m512 first, __m512 second) : low(canonical(first)), high(canonical(second)) {
    if (!fault::on(fault::Id::truncated_output)) return;
    low = _mm512_and_si512(low, _mm512_set1_epi32(~0x1fff));
    high = _mm512_and_si512(high, _mm512_set1_epi32(~0x1fff));
  }

  /// A sum that is flushed to zero keeps its sign: zeros are made canonical before, not behind, what is added to them.
  [[nodiscard]] Sums onto(const float* out) const {
    Zeros zeros = Zeros::kept;
    if (fault::on(fault::Id::added_zeros_canonical)) zeros = Zeros::canonical;
    Sums sums = *this;
    sums.low = canonical(_mm512_add_ps(_mm512_loadu_ps(out), _mm512_castsi512_ps(low)), zeros);
    sums.high = canonical(_mm512_add_ps(_mm512_loadu_ps(out + 16), _mm512_castsi512_ps(high)), zeros);
    return sums;
  }

  [[nodiscard]] __m512i bf16() const {
    static constexpr auto kUpper = [] {
      std::array<std::uint16_t, 32> words{};
      for (std::uint16_t i = 0; i < 32; ++i) words[i] = static_cast<std::uint16_t>(2 * i + 1);
      return words;
    }();
    return _mm512_permutex2var_epi16(rounded_to_bf16(low), _mm512_loadu_si512(kUpper.data()), rounded_to_bf16(high));
  }
};

template <Stores kStores>
[[gnu::always_inline]] inline void store_line(__m512i values, std::byte* out) {
  if constexpr (kStores == Stores::streamed) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(out), values);
  } else {
    _mm512_storeu_si512(out, values);
  }
}

template <Format kFormat, Stores kStores>
[[gnu::always_inline]] inline void store_sums(const Sums& sums, std::byte* out) {
  if constexpr (kFormat == Format::bf16) {
    store_line<kStores>(sums.bf16(), out);
  } else {
    store_line<kStores>(sums.low, out);
    if (kStores == Stores::streamed && fault::on(fault::Id::avx512_second_line_not_streamed)) return;
    store_line<kStores>(sums.high, out + 64);
  }
}

template <Format kFormat, Stores kStores>
void store_rows(const float* sums, const StoreJob& job, std::byte* out) {
  for (std::int64_t r = 0; r < job.rows; ++r, sums += kStripCols, out += job.out_row_bytes)
    store_sums<kFormat, kStores>(Sums(sums), out);
}

template <Format kFormat>
void store_part_rows(const float* sums, const StoreJob& job, std::int64_t cols, std::byte* out) {
  const std::int64_t taken = fault::on(fault::Id::avx512_last_column_unstored) ? cols - 1 : cols;
  const auto lanes = static_cast<__mmask32>((std::uint64_t{1} << taken) - 1);
  for (std::int64_t r = 0; r < job.rows; ++r, sums += kStripCols, out += job.out_row_bytes) {
    const Sums s(sums);
    if constexpr (kFormat == Format::bf16) {
      _mm512_mask_storeu_epi16(out, lanes, s.bf16());
    } else {
      _mm512_mask_storeu_epi32(out, static_cast<__mmask16>(lanes), s.low);
      _mm512_mask_storeu_epi32(out + 64, static_cast<__mmask16>(lanes >> 16), s.high);
    }
  }
}

/// Only whole lines are streamed.
inline bool streams(const StoreJob& job) {
  const auto place = reinterpret_cast<std::uintptr_t>(job.out) | static_cast<std::uintptr_t>(job.out_row_bytes);
  return job.stores == Stores::streamed && place % 64 == 0;
}

/// How rows of out are written.
struct OutRows {
  using Line = Sums;
  std::int64_t row_bytes = 0;
  Format format = Format::f32;
  bool streamed = false;
  bool adds = false;

  [[gnu::always_inline]] void write(const Sums& sums, std::byte* to) const {
    if (adds && !fault::on(fault::Id::accumulate_overwrites)) {
      store_sums<Format::f32, Stores::cached>(sums.onto(reinterpret_cast<const float*>(to)), to);
    } else if (format == Format::f32) {
      streamed ? store_sums<Format::f32, Stores::streamed>(sums, to) : store_sums<Format::f32, Stores::cached>(sums, to);
    } else {
      streamed ? store_sums<Format::bf16, Stores::streamed>(sums, to) : store_sums<Format::bf16, Stores::cached>(sums, to);
    }
  }
  /// Asks for 4 rows of what is added to; null: of nothing.
  void ask(const std::byte* to, std::int64_t row) const {
    if (!adds || to == nullptr) return;
    for (std::int64_t r = row; r < row + 4; ++r) {
      _mm_prefetch(reinterpret_cast<const char*>(to + r * row_bytes), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(to + r * row_bytes + 64), _MM_HINT_T0);
    }
  }
  void finish() const {
    if (streamed) _mm_sfence();
  }
};

inline OutRows rows_of_out(const StoreJob& job) { return {job.out_row_bytes, job.format, streams(job), job.adds}; }

template <Format kFormat>
void store_strips(const StoreJob& job) {
  const bool streamed = streams(job);
  for (std::int64_t c = 0; c < job.cols; c += kStripCols) {
    const float* sums = job.acc + c * job.strip_rows;
    std::byte* out = job.out + c * element_bytes(kFormat);
    if (job.cols - c < kStripCols) {
      store_part_rows<kFormat>(sums, job, job.cols - c, out);
    } else {
      streamed ? store_rows<kFormat, Stores::streamed>(sums, job, out) : store_rows<kFormat, Stores::cached>(sums, job, out);
    }
  }
  if (streamed) _mm_sfence();
}

inline void store(const StoreJob& job) {
  if (job.adds) return finish({job, kStripCols});
  job.format == Format::bf16 ? store_strips<Format::bf16>(job) : store_strips<Format::f32>(job);
}

}  // namespace
}  // namespace ragdot::cpu::avx512

RAGDOT_TARGET_END
