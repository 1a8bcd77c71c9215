// Packing for the portable kernel: decode to float or double, interleave the lanes of a register block, evens before odds.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "cpu/kernel.hpp"
#include "format/e4m3.hpp"
#include "format/e5m2.hpp"
#include "format/fault.hpp"

namespace ragdot::cpu::portable {

/// Panel layout: blocks of kLanes outer elements; in a block, piece after piece, chunk after chunk: the even positions of the
/// chunk, then the odd ones, kLanes elements each. Lanes beyond the operand are zero.

template <Format kFormat>
inline float decode(const std::byte* at) {
  if constexpr (kFormat == Format::e4m3 || kFormat == Format::e5m2) {
    const auto code = std::to_integer<std::uint8_t>(*at);
    if (fault::on(fault::Id::subnormals_flushed_in_decode) && (code & 0x7f) < (kFormat == Format::e4m3 ? 8 : 4)) return 0;
    return (kFormat == Format::e4m3 ? format::kE4m3ToF32 : format::kE5m2ToF32)[code];
  } else if constexpr (kFormat == Format::i8) {
    return static_cast<float>(static_cast<std::int8_t>(std::to_integer<std::uint8_t>(*at)));
  } else {
    std::uint32_t bits = 0;
    if constexpr (kFormat == Format::bf16) {
      std::uint16_t half = 0;
      std::memcpy(&half, at, sizeof half);
      bits = static_cast<std::uint32_t>(half) << 16;
    } else {
      std::memcpy(&bits, at, sizeof bits);
    }
    if ((bits & 0x7f800000U) == 0) bits &= 0x80000000U;  // subnormals read as zero
    return std::bit_cast<float>(bits);
  }
}

/// 2^(code - 127) in double; NaN for code 255.
inline double power_of_two(std::uint8_t code) {
  const std::uint64_t exponent = code + 1023ULL - 127ULL - (fault::on(fault::Id::e8m0_bias_off_by_one) ? 1U : 0U);
  const bool nan = code == 255 && !fault::on(fault::Id::portable_e8m0_nan_is_inf);
  return std::bit_cast<double>(nan ? 0x7ff8000000000000ULL : exponent << 52);
}

/// value * 2^e as bf16 would hold it: Inf above its range, zero below its normal range.
inline double folded(float value, std::uint8_t code) {
  const double product = static_cast<double>(value) * power_of_two(code);
  const double size = product < 0 ? -product : product;
  if (size >= 0x1p128)
    return product < 0 ? -std::bit_cast<double>(0x7ff0000000000000ULL) : std::bit_cast<double>(0x7ff0000000000000ULL);
  if (size < 0x1p-126 && !fault::on(fault::Id::portable_fold_keeps_subnormals)) return 0;
  return product;
}

enum class Fold : std::int32_t { no, yes };

template <class T, int kLanes, Format kFormat, Fold kFold>
void pack_block(const PackJob& job, std::int64_t first_lane, T* out) {
  const Side& side = *job.side;
  const std::int64_t lanes = job.count - first_lane < kLanes ? job.count - first_lane : kLanes;
  std::array<std::int64_t, kLanes> scale_offset{};
  if constexpr (kFold == Fold::yes) {
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      scale_offset[static_cast<std::size_t>(lane)] =
          side.outer_grid.index(job.outer + first_lane + lane) * side.scale_outer_stride;
    }
  }
  const std::int64_t bytes = element_bytes(kFormat);
  const std::int64_t lane_step = side.outer_stride * bytes;
  const auto slot = [&](std::int64_t x) {
    const std::byte* at = side.value(job.outer + first_lane, x);
    const std::byte* scales = nullptr;
    if constexpr (kFold == Fold::yes) scales = side.scales + side.depth_grid.index(x) * side.scale_depth_stride;
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      const float value = decode<kFormat>(at + lane * lane_step);
      if constexpr (kFold == Fold::yes) {
        const std::byte code = scales[scale_offset[static_cast<std::size_t>(lane)]];
        out[lane] = static_cast<T>(folded(value, std::to_integer<std::uint8_t>(code)));
      } else {
        out[lane] = value;
      }
    }
    for (std::int64_t lane = lanes; lane < kLanes; ++lane) out[lane] = 0;
    out += kLanes;
  };
  for (const schedule::Piece& piece : job.pieces) {
    for (std::int64_t chunk = piece.begin; chunk < piece.end; chunk += schedule::kChunk) {
      const std::int64_t end = piece.end - chunk < schedule::kChunk ? piece.end : chunk + schedule::kChunk;
      for (std::int64_t x = chunk; x < end; x += 2) slot(x);
      for (std::int64_t x = chunk + 1; x < end; x += 2) slot(x);
    }
  }
}

template <class T, int kLanes, Format kFormat>
void pack_format(const PackJob& job) {
  std::int64_t depth = 0;
  for (const schedule::Piece& piece : job.pieces) depth += piece.depth();
  T* out = reinterpret_cast<T*>(job.panel);
  for (std::int64_t lane = 0; lane < job.count; lane += kLanes, out += depth * kLanes) {
    if constexpr (sizeof(T) == sizeof(double) && (kFormat == Format::e4m3 || kFormat == Format::e5m2)) {
      if (job.side->folds()) {
        pack_block<T, kLanes, kFormat, Fold::yes>(job, lane, out);
        continue;
      }
    }
    pack_block<T, kLanes, kFormat, Fold::no>(job, lane, out);
  }
}

/// Panels hold doubles for Arithmetic::wide, floats otherwise.
template <int kLanes>
void pack(const PackJob& job) {
  const bool wide = job.arithmetic == Arithmetic::wide;
  switch (job.side->format) {
    case Format::e4m3:
      return wide ? pack_format<double, kLanes, Format::e4m3>(job) : pack_format<float, kLanes, Format::e4m3>(job);
    case Format::e5m2:
      return wide ? pack_format<double, kLanes, Format::e5m2>(job) : pack_format<float, kLanes, Format::e5m2>(job);
    case Format::bf16: return pack_format<double, kLanes, Format::bf16>(job);
    case Format::f32: return pack_format<float, kLanes, Format::f32>(job);
    case Format::i8: return pack_format<float, kLanes, Format::i8>(job);
    case Format::none:
    case Format::f16:
    case Format::e8m0: break;  // no values of products; validation has refused them
  }
}

}  // namespace ragdot::cpu::portable
