// Tensor maps of operands: how the copy engine finds boxes of them.
#pragma once

#include <cuda.h>

#include "cuda/launch.hpp"

namespace ragdot::cuda {

/// A map whose boxes are `box_length` elements of `box_lines` lines; outside the extents reads zero. Returns null, or what the
/// driver refused.
const char* encode_map(CUtensorMap& map, const Lines& lines, int box_length, int box_lines);

/// What the maps of one of tgmm's operands are made from.
struct OperandMaps {
  CUtensorMap operand;
  CUtensorMap copy;     // of the groups that begin where the copy engine cannot
  int end_axis = 0;     // along which a group ends: 0 where lines lie along the reduction, else 1
  int bytes = 1;        // of an element
  bool copied = false;  // there is a copy
};

/// Maps for each local group, which end where the group does: what lies behind reads as zero. Two for each: of a and of b.
/// Spans are the local groups in order.
cudaError_t make_group_maps(const OperandMaps& a, const OperandMaps& b, const Span* spans, int local, CUtensorMap* maps,
                            cudaStream_t stream);

}  // namespace ragdot::cuda
