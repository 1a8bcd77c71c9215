// Packs int8 operands into panels of int16 pairs, whatever the storage order.
// A kernel includes this file inside its target region, behind all other includes, so that the templates get its instructions.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/isa/chains/panels.hpp"
#include "cpu/kernel.hpp"
#include "format/fault.hpp"

namespace ragdot::cpu::pairs {
namespace {

/// Dwords of a line that are made at once, and lines of a patch.
inline constexpr std::int64_t kLine = 32;

/// One piece of an operand. A line runs along the axis that memory runs along: pairs of one outer element, or the outer
/// elements of one pair. Convert makes 32 dwords: `pairs(from, to)` of 64 consecutive bytes, `zip(low, high, to)` of twice 32
/// bytes.
template <class Convert, chains::Role kRole>
class Packer {
 public:
  /// `at`: the piece's first dword in a panel of `depth` dwords.
  Packer(const PackJob& job, const schedule::Piece& piece, std::int64_t at, std::int64_t depth)
      : job_(job),
        piece_(piece),
        at_(at),
        depth_(depth),
        along_outer_(job.side->outer_stride == 1 && job.side->depth_stride != 1) {}

  void run() {
    const std::int64_t pairs = Panels::units(piece_.depth());
    const std::int64_t lines = along_outer_ ? pairs : job_.count;
    const std::int64_t length = along_outer_ ? job_.count : pairs;
    if (along_outer_ == (kRole == chains::Role::rhs)) {
      for (std::int64_t line = 0; line < lines; ++line) {
        for (std::int64_t i = 0; i < length; i += kLine) {
          dwords(line, i, kRole == chains::Role::lhs ? place(line, i) : place(i, line));
        }
      }
      return;
    }
    for (std::int64_t line = 0; line < lines; line += kLine) {
      for (std::int64_t i = 0; i < length; i += kLine) {
        transposed(line, std::min(kLine, lines - line), i, std::min(kLine, length - i));
      }
    }
  }

 private:
  float* place(std::int64_t outer, std::int64_t pair) const {
    const std::int64_t dword = kRole == chains::Role::lhs ? outer * Panels::lhs_stride(depth_) + at_ + pair
                                                          : (outer / kLine * depth_ + at_ + pair) * kLine + outer % kLine;
    return reinterpret_cast<float*>(job_.panel) + dword;
  }

  /// kCount bytes from element (outer, depth) of the piece on, `step` apart, zeros behind the first `count`.
  template <std::size_t kCount>
  const std::byte* bytes(std::int64_t outer, std::int64_t depth, std::int64_t count, std::int64_t step,
                         std::array<std::byte, kCount>& dense) const {
    const std::byte* from = job_.side->value(job_.outer + outer, piece_.begin + depth);
    constexpr auto kMost = static_cast<std::int64_t>(kCount);
    if (count >= kMost && step == 1) return from;
    dense.fill(std::byte{0});
    for (std::int64_t i = 0; i < std::min(count, kMost); ++i) dense[static_cast<std::size_t>(i)] = from[i * step];
    return dense.data();
  }

  /// 32 dwords of a line from its `i`-th on, zeros behind its end.
  void dwords(std::int64_t line, std::int64_t i, float* to) const {
    std::array<std::byte, 2 * kLine> dense;
    if (!along_outer_) {
      return Convert::pairs(bytes(line, 2 * i, piece_.depth() - 2 * i, job_.side->depth_stride, dense), to);
    }
    std::array<std::byte, kLine> low;
    std::array<std::byte, kLine> high;
    const std::int64_t count = job_.count - i;
    const bool whole = 2 * line + 1 < piece_.depth();
    const bool has_second = whole || fault::on(fault::Id::i8_odd_depth_repeated);
    Convert::zip(bytes(i, 2 * line, count, job_.side->outer_stride, low),
                 bytes(i, whole ? 2 * line + 1 : 2 * line, has_second ? count : 0, job_.side->outer_stride, high), to);
  }

  void transposed(std::int64_t line, std::int64_t lines, std::int64_t i, std::int64_t count) const {
    alignas(64) std::array<float, kLine * kLine> patch;
    alignas(64) std::array<float, kLine * kLine> turned;
    for (std::int64_t l = 0; l < lines; ++l) dwords(line + l, i, patch.data() + l * kLine);
    std::fill(patch.data() + lines * kLine, patch.data() + patch.size(), 0.0F);
    Convert::transpose(patch.data(), turned.data(), kLine);
    for (std::int64_t l = 0; l < count; ++l) {
      float* to = kRole == chains::Role::lhs ? place(i + l, line) : place(line, i + l);
      std::memcpy(to, turned.data() + l * kLine, kLine * sizeof(float));
    }
  }

  const PackJob& job_;
  const schedule::Piece& piece_;
  std::int64_t at_;
  std::int64_t depth_;
  bool along_outer_;
};

template <class Convert, chains::Role kRole>
void pack(const PackJob& job) {
  std::int64_t depth = 0;
  for (const schedule::Piece& piece : job.pieces) depth += Panels::units(piece.depth());
  std::int64_t at = 0;
  for (const schedule::Piece& piece : job.pieces) {
    Packer<Convert, kRole>(job, piece, at, depth).run();
    at += Panels::units(piece.depth());
  }
}

}  // namespace
}  // namespace ragdot::cpu::pairs
