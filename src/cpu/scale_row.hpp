// The scales of a stretch of outer elements for one segment, as the f32 they stand for.
#pragma once

#include <cstdint>

#include "cpu/side.hpp"

namespace ragdot::cpu {

/// Writes the scales of `count` outer elements from `outer` on for the segment that holds reduction element `depth`; ones where
/// the side is not scaled. Subnormal scales are read as zero by whoever multiplies with them.
void gather_scales(const Side& side, std::int64_t outer, std::int64_t count, std::int64_t depth, float* scales);

}  // namespace ragdot::cpu
