// Copies of the groups of tgmm's operands that begin where the copy engine cannot read.
#pragma once

#include <cuda_runtime.h>

#include "cuda/launch.hpp"

namespace ragdot::cuda {

/// Copies the rows of each local group of `lines` that begins at no multiple of 16 bytes to `copies`, group g from row
/// copied_start on, lines of `pitch` elements (16 bytes or more apart, `copies` aligned to 16). Spans are the local groups in
/// order; others are looked at and left. Runs on `multiprocessors` blocks, 0: as many as are of use.
cudaError_t copy_unaligned_groups(const Lines& lines, const Span* spans, int local, std::byte* copies, std::int64_t pitch,
                                  std::int32_t multiprocessors, cudaStream_t stream);

}  // namespace ragdot::cuda
