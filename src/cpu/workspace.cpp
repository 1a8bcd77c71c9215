// Sizes of the workspace, from the plan alone.
#include "cpu/workspace.hpp"

#include <algorithm>

#include "cpu/exchange.hpp"
#include "cpu/tile_size.hpp"

namespace ragdot::cpu {
namespace {

/// Hands out aligned stretches of bytes, one behind the other.
class Cutter {
 public:
  std::size_t take(std::int64_t bytes) {
    const std::size_t at = used_;
    used_ += (static_cast<std::size_t>(bytes) + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment;
    return at;
  }
  [[nodiscard]] std::size_t used() const { return used_; }

 private:
  std::size_t used_ = 0;
};

/// An upper bound of the items of a call, whatever its groups, with tiles of this size.
std::int64_t most_items(const plan::Problem& problem, const Tiling& tile) {
  using schedule::ceil_div;
  const std::int64_t row_tiles = problem.op == plan::Op::gmm ? std::min(most_spans(problem), problem.m) + problem.m / tile.tm
                                                             : problem.local * ceil_div(problem.k, tile.tm);
  return row_tiles * ceil_div(problem.n, tile.tn);
}

std::int64_t bytes_of(std::size_t size, std::int64_t count) { return static_cast<std::int64_t>(size) * count; }

}  // namespace

std::int64_t longest_segment(const plan::Problem& problem) {
  const bool is_gmm = problem.op == plan::Op::gmm;
  std::int64_t longest = is_gmm ? problem.k : problem.m;
  if (problem.lhs.scales != Format::none) {
    longest = std::min(longest, is_gmm ? problem.lhs.block_cols : problem.lhs.block_rows);
  }
  if (problem.rhs.scales != Format::none) longest = std::min(longest, problem.rhs.block_rows);
  return longest;
}

WorkspaceLayout layout_of(const Plan::Choice& choice, const Kernel& kernel) {
  const plan::Problem problem = as_computed(choice.problem);
  const Tiling tile = as_computed(choice.effective, choice.problem);
  WorkspaceLayout layout;
  layout.strip_cols = strip_cols(kernel, tile);
  Cutter scratch;
  layout.lhs_panel = scratch.take(kernel.panel_bytes(Arithmetic::wide, tile.tm, tile.tk));
  layout.rhs_panel = scratch.take(kernel.panel_bytes(Arithmetic::wide, std::min(tile.tn, layout.strip_cols), tile.tk));
  layout.acc = scratch.take(bytes_of(sizeof(float), tile.tm * tile.tn));
  layout.part = scratch.take(kernel.part_bytes * tile.tm * tile.tn);
  layout.has_wide = arithmetic_of(problem) == Arithmetic::i8 && longest_segment(problem) > kernel.most_of_i8;
  if (layout.has_wide) layout.wide = scratch.take(bytes_of(sizeof(std::int64_t), tile.tm * tile.tn));
  layout.row_scales = scratch.take(bytes_of(sizeof(float), kMostPieces * tile.tm));
  layout.col_scales = scratch.take(bytes_of(sizeof(float), kMostPieces * padded(tile.tn, kernel.inner_cols)));
  layout.pieces = scratch.take(bytes_of(sizeof(schedule::Piece), kMostPieces));
  layout.scratch_stride = scratch.used();

  Cutter call;
  layout.spans = call.take(bytes_of(sizeof(schedule::Span), most_spans(problem)));
  layout.scratch = call.used();
  layout.areas = std::clamp<std::int64_t>(most_items(problem, tile), 1, choice.threads);
  layout.total = layout.scratch + layout.scratch_stride * static_cast<std::size_t>(layout.areas);
  return layout;
}

}  // namespace ragdot::cpu
