// Plain loops: each element here stands for up to 4,096 products of a reduction tile.
#include "cpu/wide_sums.hpp"

#include <cstring>

#include "cpu/fma.hpp"

namespace ragdot::cpu {

void add_int32(const std::byte* part, std::int64_t count, bool begins, std::int64_t* sums) {
  for (std::int64_t i = 0; i < count; ++i) {
    std::int32_t sum = 0;
    std::memcpy(&sum, part + i * static_cast<std::int64_t>(sizeof sum), sizeof sum);
    sums[i] = (begins ? 0 : sums[i]) + sum;
  }
}

void end_wide_segment(const std::int64_t* sums, std::int64_t count, float row_scale, const float* col_scales, bool sets,
                      float* acc) {
  for (std::int64_t i = 0; i < count; ++i)
    acc[i] = fma_f32(row_scale * col_scales[i], static_cast<float>(sums[i]), sets ? 0.0F : acc[i]);
}

}  // namespace ragdot::cpu
