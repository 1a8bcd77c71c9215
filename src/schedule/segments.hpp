// Where the reduction axis is cut: segments between scale boundaries, and the pieces of segments that a reduction tile holds.
#pragma once

#include <cstdint>

#include "format/fault.hpp"
#include "ragdot/types.hpp"

#ifdef __CUDACC__
#define RAGDOT_HOST_DEVICE __host__ __device__
#else
#define RAGDOT_HOST_DEVICE
#endif

namespace ragdot::schedule {

/// Elements of one chunk of the reduction order.
inline constexpr std::int64_t kChunk = 32;

/// A scale grid along one axis as one group sees it: element x of the group has scale index base + (x + phase) / block.
struct AxisGrid {
  std::int64_t block = kWholeAxis;  // kWholeAxis: index base everywhere
  std::int64_t phase = 0;           // 0 <= phase < block
  std::int64_t base = 0;

  [[nodiscard]] RAGDOT_HOST_DEVICE constexpr std::int64_t index(std::int64_t x) const {
    return block == kWholeAxis ? base : base + (x + phase) / block;
  }

  /// First boundary behind x, or kWholeAxis when there is none in range.
  [[nodiscard]] RAGDOT_HOST_DEVICE constexpr std::int64_t next_cut(std::int64_t x) const {
    if (block == kWholeAxis) return kWholeAxis;
    const std::int64_t rest = block - (x + (fault::on(fault::Id::cuts_ignore_phase) ? 0 : phase)) % block;
    return rest > kWholeAxis - x ? kWholeAxis : x + rest;
  }
};

/// The grid of a row axis that starts at `origin_row` in the whole matrix (global origin).
[[nodiscard]] RAGDOT_HOST_DEVICE constexpr AxisGrid global_grid(std::int64_t block, std::int64_t origin_row) {
  if (block == kWholeAxis) return {};
  return {block, origin_row % block, origin_row / block};
}

/// The grid of a row axis whose blocks restart with the group (per_group origin); `base` is the group's first scale row.
[[nodiscard]] RAGDOT_HOST_DEVICE constexpr AxisGrid group_grid(std::int64_t block, std::int64_t base) {
  return {block, 0, base};
}

/// Scale rows of a group of `size` rows under a per_group grid.
[[nodiscard]] RAGDOT_HOST_DEVICE constexpr std::int64_t group_scale_rows(std::int64_t size, std::int64_t block) {
  if (fault::on(fault::Id::short_block_has_no_scale_row) && block != kWholeAxis) return size / block;
  return block == kWholeAxis ? 1 : size / block + (size % block != 0 ? 1 : 0);
}

/// Part of a segment: elements [begin, end) of the reduction axis. begin is a whole number of chunks behind the segment's
/// start.
struct Piece {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  bool first = false;  // begins its segment
  bool last = false;   // ends its segment

  [[nodiscard]] RAGDOT_HOST_DEVICE constexpr std::int64_t depth() const { return end - begin; }
};

/// Walks a reduction axis of `depth` elements piece by piece. lhs and rhs are the grids that cut segments (kWholeAxis: none).
class PieceWalk {
 public:
  RAGDOT_HOST_DEVICE constexpr PieceWalk(AxisGrid lhs, AxisGrid rhs, std::int64_t depth)
      : lhs_(lhs), rhs_(rhs), depth_(depth) {}

  [[nodiscard]] RAGDOT_HOST_DEVICE constexpr bool done() const { return at_ >= depth_; }

  /// The next piece with at most `most` elements. A segment that is longer is broken at a whole number of chunks; when not even
  /// one chunk fits and the rest of the segment does not either, the piece is empty and the walk stays.
  RAGDOT_HOST_DEVICE constexpr Piece next(std::int64_t most) {
    if (starts_segment_) segment_end_ = segment_end(at_);
    Piece piece{at_, segment_end_, starts_segment_, true};
    if (piece.depth() > most) {
      piece.end = at_ + (fault::on(fault::Id::chunks_from_axis_start) ? most : most / kChunk * kChunk);
      piece.last = false;
    }
    if (piece.depth() > 0) starts_segment_ = piece.last;
    at_ = piece.end;
    return piece;
  }

 private:
  [[nodiscard]] RAGDOT_HOST_DEVICE constexpr std::int64_t segment_end(std::int64_t x) const {
    const std::int64_t l = lhs_.next_cut(x);
    const std::int64_t r = rhs_.next_cut(x);
    const std::int64_t cut = l < r ? l : r;
    return cut < depth_ ? cut : depth_;
  }

  AxisGrid lhs_;
  AxisGrid rhs_;
  std::int64_t depth_ = 0;
  std::int64_t at_ = 0;
  std::int64_t segment_end_ = 0;
  bool starts_segment_ = true;
};

}  // namespace ragdot::schedule
