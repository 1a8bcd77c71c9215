// Packs operands into panels of f32 values, whatever the storage order: decode lines of 32, transpose where needed, fold
// scales. A kernel includes this file inside its target region, behind all other includes, so that the templates get its
// instructions.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "cpu/isa/chains/panels.hpp"
#include "cpu/kernel.hpp"

namespace ragdot::cpu::floats {
namespace {

/// Elements along a line that are decoded at once, and lines of a patch.
inline constexpr std::int64_t kLine = 32;
using Panels = chains::DwordPanels<1>;
/// From a prefetch to its use.
inline constexpr std::int64_t kBytesAhead = 8192;
inline constexpr std::int64_t kPatchesAhead = 8;
static_assert(kLine == chains::kStripCols && kLine == schedule::kChunk);

/// Multiplies by 2^(code - 127). 2^-127 is subnormal, so code 0 takes two steps; both are exact or end at Inf or zero.
struct PowerOfTwo {
  float first = 1;
  float second = 1;
};

inline PowerOfTwo power_of_two(std::uint8_t code) {
  if (code == 255 && !fault::on(fault::Id::vector_e8m0_nan_is_inf)) return {std::numeric_limits<float>::quiet_NaN(), 1};
  if (code == 0 && !fault::on(fault::Id::code_0_in_one_step)) return {0.5F, 0x1p-126F};
  return {1, std::bit_cast<float>(static_cast<std::uint32_t>(code) << 23)};
}

/// One operand, cut into patches of kLine x kLine. A line runs along the axis that memory runs along.
template <class Decode, chains::Role kRole, Format kFormat>
class Packer {
 public:
  explicit Packer(const PackJob& job)
      : job_(job),
        panel_(reinterpret_cast<float*>(job.panel)),
        begin_(job.pieces.front().begin),
        depth_(job.pieces.back().end - begin_),
        along_outer_(job.side->outer_stride == 1 && job.side->depth_stride != 1),
        natural_(along_outer_ == (kRole == chains::Role::rhs)),
        lines_(along_outer_ ? depth_ : job.count),
        length_(along_outer_ ? job.count : depth_) {}

  void run() {
    if (job_.side->blocked()) {
      for (std::int64_t at = 0; at < length_; at += kLine) {
        for (std::int64_t line = 0; line < lines_; line += kLine) patch(line, at);
      }
    } else if (natural_ && !job_.side->folds()) {  // one line after the other is how memory is read best
      for (std::int64_t line = 0; line < lines_; ++line) decode_line(line);
    } else {
      for (std::int64_t line = 0; line < lines_; line += kLine) {
        for (std::int64_t at = 0; at < length_; at += kLine) patch(line, at);
      }
    }
  }

 private:
  static constexpr std::int64_t kBytes = element_bytes(kFormat);
  using Dense = std::array<std::byte, kLine * kBytes>;

  /// Where the panel holds outer element `outer` at depth `depth`.
  float* place(std::int64_t outer, std::int64_t depth) const {
    if constexpr (kRole == chains::Role::lhs) return panel_ + outer * Panels::lhs_stride(depth_) + depth;
    return panel_ + (outer / kLine * depth_ + depth) * kLine + outer % kLine;
  }
  float* natural_place(std::int64_t line, std::int64_t at) const {
    return kRole == chains::Role::lhs ? place(line, at) : place(at, line);
  }

  /// 32 elements of a line in memory order; when it has only `count` (at least 0) or they are scattered, a copy with zeros
  /// behind them.
  const std::byte* elements(std::int64_t line, std::int64_t at, std::int64_t count, Dense& dense) const {
    const Side& side = *job_.side;
    const std::int64_t step = along_outer_ ? side.outer_stride : side.depth_stride;
    const std::byte* from =
        along_outer_ ? side.value(job_.outer + at, begin_ + line) : side.value(job_.outer + line, begin_ + at);
    if (count >= kLine && step == 1) return from;
    dense.fill(std::byte{0});
    for (std::int64_t i = 0; i < count; ++i) std::memcpy(dense.data() + i * kBytes, from + i * step * kBytes, kBytes);
    return dense.data();
  }

  /// Lines of a narrow operand, and those of a patch, lie far apart: the CPU's own prefetching does not follow (weights that
  /// stream in 64 columns wide: 1.5 Gcodes/s without, 4 with).
  void prefetch(std::int64_t line, std::int64_t at) const {
    if (line >= lines_ || at >= length_ || job_.side->blocked()) return;
    __builtin_prefetch(along_outer_ ? job_.side->value(job_.outer + at, begin_ + line)
                                    : job_.side->value(job_.outer + line, begin_ + at));
  }

  /// A whole line to its natural place; the last decode of a pair may be for nothing.
  void decode_line(std::int64_t line) {
    const std::int64_t ahead = std::clamp<std::int64_t>(kBytesAhead / (length_ * kBytes), 1, kLine);
    for (std::int64_t at = 0; at < length_; at += 2 * kLine) {
      const std::int64_t left = length_ - at;
      prefetch(line + ahead, at);
      Decode::template lines<kFormat>(elements(line, at, std::min(kLine, left), first_),
                                      elements(line, at + kLine, std::min(kLine, left - kLine), second_),
                                      natural_place(line, at), left > kLine ? natural_place(line, at + kLine) : spare_.data());
    }
  }

  void patch(std::int64_t line, std::int64_t at) {
    const std::int64_t taken = std::min(kLine, lines_ - line);
    const std::int64_t count = std::min(kLine, length_ - at);
    if (natural_) {
      decode_patch(line, taken, at, count, [&](std::int64_t i) { return natural_place(line + i, at); });
    } else {
      transposed(line, taken, at, count);
    }
    if (job_.side->folds()) fold(line, taken, at, count);
  }

  /// Elements [at, at + count) of `lines` lines; `to(i)` says where those of line i go, zeros behind them.
  template <class To>
  void decode_patch(std::int64_t line, std::int64_t lines, std::int64_t at, std::int64_t count, To to) {
    for (std::int64_t i = 0; i < lines; i += 2) {
      const bool both = i + 1 < lines;
      prefetch(line + i, at + kPatchesAhead * kLine);
      if (both) prefetch(line + i + 1, at + kPatchesAhead * kLine);
      Decode::template lines<kFormat>(elements(line + i, at, count, first_),
                                      elements(line + i + 1, at, both ? count : 0, second_), to(i),
                                      both ? to(i + 1) : spare_.data());
    }
  }

  void transposed(std::int64_t line, std::int64_t lines, std::int64_t at, std::int64_t count) {
    alignas(64) std::array<float, kLine * kLine> patch;
    decode_patch(line, lines, at, count, [&](std::int64_t i) { return patch.data() + i * kLine; });
    std::fill(patch.data() + lines * kLine, patch.data() + patch.size(), 0.0F);
    constexpr bool kLhs = kRole == chains::Role::lhs;
    float* to = kLhs ? place(at, line) : place(line, at);
    const std::int64_t stride = kLhs ? Panels::lhs_stride(depth_) : kLine;
    if (count == kLine) return Decode::transpose(patch.data(), to, stride);
    alignas(64) std::array<float, kLine * kLine> turned;
    Decode::transpose(patch.data(), turned.data(), kLine);
    for (std::int64_t i = 0; i < count; ++i) std::memcpy(to + i * stride, turned.data() + i * kLine, kLine * sizeof(float));
  }

  void fold(std::int64_t line, std::int64_t lines, std::int64_t at, std::int64_t count) const {
    const std::int64_t outer = along_outer_ ? at : line;
    const std::int64_t outers = along_outer_ ? count : lines;
    const std::int64_t depth = along_outer_ ? line : at;
    const std::int64_t end = depth + (along_outer_ ? lines : count);
    for (std::int64_t d = depth; d < end;) {
      const std::int64_t cut = std::min(job_.side->depth_grid.next_cut(begin_ + d) - begin_, end);
      fold_block(outer, outers, d, cut);
      d = cut;
    }
  }

  /// One scale for each of the outer elements [outer, outer + outers), over depth [first, last).
  void fold_block(std::int64_t outer, std::int64_t outers, std::int64_t first, std::int64_t last) const {
    std::array<float, kLine> one;
    std::array<float, kLine> two;
    one.fill(1);
    two.fill(1);
    for (std::int64_t i = 0; i < outers; ++i) {
      const std::byte* code = job_.side->scale(job_.outer + outer + i, begin_ + first);
      const PowerOfTwo power = power_of_two(std::to_integer<std::uint8_t>(*code));
      one[static_cast<std::size_t>(i)] = power.first;
      two[static_cast<std::size_t>(i)] = power.second;
    }
    if constexpr (kRole == chains::Role::lhs) {
      for (std::int64_t i = 0; i < outers; ++i) {
        float* values = place(outer + i, 0);
        for (std::int64_t d = first; d < last; ++d) {
          values[d] = values[d] * one[static_cast<std::size_t>(i)] * two[static_cast<std::size_t>(i)];
        }
      }
    } else {
      for (std::int64_t d = first; d < last; ++d) {
        float* values = place(outer, d);
        for (std::size_t i = 0; i < kLine; ++i) values[i] = values[i] * one[i] * two[i];
      }
    }
  }

  const PackJob& job_;
  float* panel_;
  std::int64_t begin_;  // of the pieces, which follow each other
  std::int64_t depth_;
  bool along_outer_;
  bool natural_;  // memory runs as the panel does
  std::int64_t lines_;
  std::int64_t length_;
  Dense first_;
  Dense second_;
  alignas(64) std::array<float, kLine> spare_;  // takes what nobody asked for
};

/// Decode gives `lines<format>(from, from, to, to)`: twice 32 values to f32, and `transpose(from, to, to_stride)`: 32 x 32
/// floats, `from` dense.
template <class Decode, chains::Role kRole>
void pack(const PackJob& job) {
  if (job.pieces.empty()) return;  // nothing to reduce
  switch (job.side->format) {
    case Format::e4m3: return Packer<Decode, kRole, Format::e4m3>(job).run();
    case Format::e5m2: return Packer<Decode, kRole, Format::e5m2>(job).run();
    case Format::bf16: return Packer<Decode, kRole, Format::bf16>(job).run();
    case Format::f32: return Packer<Decode, kRole, Format::f32>(job).run();
    default: break;  // no values of products; validation has refused them
  }
}

}  // namespace
}  // namespace ragdot::cpu::floats
