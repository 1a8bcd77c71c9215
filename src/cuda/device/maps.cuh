// Tensor maps of operands: how the copy engine finds boxes of them.
#pragma once

#include <cuda.h>

#include "cuda/launch.hpp"

namespace ragdot::cuda {

/// A map whose boxes are `box_length` elements of `box_lines` lines; outside the extents reads zero. Returns null, or what the
/// driver refused.
const char* encode_map(CUtensorMap& map, const Lines& lines, int box_length, int box_lines);

/// Maps of tgmm's operands for each local group, which end where the group does: what lies behind reads as zero. `end_axis_*`: 0
/// where lines lie along the reduction, else 1. Spans are the local groups in order.
void make_group_maps(const CUtensorMap& map_a, const CUtensorMap& map_b, int end_axis_a, int end_axis_b, const Span* spans, int local,
                     CUtensorMap* maps, cudaStream_t stream);

}  // namespace ragdot::cuda
