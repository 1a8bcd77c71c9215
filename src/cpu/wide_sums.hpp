// Sums of i8 products that int32 may not hold: a kernel's int32 sums of a reduction tile are added to int64 ones, and what ends
// a segment is done here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ragdot::cpu {

/// sums += part, or sums = part where the segment begins.
void add_int32(const std::byte* part, std::int64_t count, bool begins, std::int64_t* sums);

/// acc = fma(row_scale * col_scales, sums, acc), sums rounded once; where nothing was added yet acc counts as 0.
void end_wide_segment(const std::int64_t* sums, std::int64_t count, float row_scale, const float* col_scales, bool sets,
                      float* acc);

}  // namespace ragdot::cpu
