// How a call's workspace is cut up: tables of the call first, then one scratch area for each thread that could get an item.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/kernel.hpp"
#include "plan/backend.hpp"
#include "schedule/items.hpp"

namespace ragdot::cpu {

/// Byte offsets in the workspace of one call; the same for sizing and for running.
struct WorkspaceLayout {
  std::size_t spans = 0;
  std::size_t scratch = 0;         // of thread 0
  std::size_t scratch_stride = 0;  // from thread to thread
  std::size_t lhs_panel = 0;       // offsets within a scratch area
  std::size_t rhs_panel = 0;
  std::size_t acc = 0;
  std::size_t part = 0;
  std::size_t wide = 0;  // sums of 8 bytes
  std::size_t row_scales = 0;
  std::size_t col_scales = 0;
  std::size_t pieces = 0;
  bool has_wide = false;        // segments may be longer than parts hold
  std::int64_t strip_cols = 0;  // columns of the rhs panel
  std::int64_t areas = 1;       // scratch areas
  std::size_t total = 0;
};

/// Spans of a call: one for each local group, and for gmm the stretches of rows between, before and behind them.
[[nodiscard]] constexpr std::int64_t most_spans(const plan::Problem& problem) { return 2 * problem.local + 1; }

/// An upper bound of the elements between two scale boundaries on the reduction axis.
[[nodiscard]] std::int64_t longest_segment(const plan::Problem& problem);

/// Of a choice whose effective tile is set.
[[nodiscard]] WorkspaceLayout layout_of(const Plan::Choice& choice, const Kernel& kernel);

}  // namespace ragdot::cpu
