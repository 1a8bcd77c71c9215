// From group numbers in device memory to spans of rows in the workspace: what every grouped kernel starts from. No host waits.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/launch.hpp"

namespace ragdot::cuda {

/// Which spans are wanted, and how many tiles each has.
struct SpanRules {
  std::int64_t rows = 0;           // M, below 2^31
  bool outside = false;            // rows of no local group make spans too (matrix -1), all spans in row order
  bool keep_empty = false;         // an empty local group makes a span without rows, so that span g is local group g
  std::int32_t tile_rows = 0;      // > 0: a span has ceil(size / tile_rows) * tiles tiles; 0: it has `tiles`, empty or not
  std::int32_t tiles = 1;          // all tiles together below 2^31
  void* aligned_starts = nullptr;  // written for every group, in the groups' index type: Span::aligned_row
  void* aligned_sizes = nullptr;   // and its rows
};
//   gmm:        {M, zero_outside, false, tile rows, tiles across N}   at most 2 local + 1 spans
//   tgmm:       {M, false, true, 0, tiles of one [K, N]}              exactly `local` spans
//   quantisers: {M, true, false, 128, 1}

/// Enqueues one block that writes WorkspaceHead and the spans (at kSpansOffset) to `workspace`. A start is clamped to [end of
/// the last filled group before, rows], an end to [start, rows]; an empty group covers nothing wherever it stands. Without
/// groups (count 0) all rows are one span with matrix 0. Span::scale_row, rows_before and aligned_row, and the head's
/// scale_rows and group_rows, count all groups, local or not.
cudaError_t find_spans(const GroupNumbers& groups, const SpanRules& rules, void* workspace, cudaStream_t stream);

}  // namespace ragdot::cuda
