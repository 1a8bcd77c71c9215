// From the largest magnitude of a block to its scale, and from an element to its byte.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ragdot/types.hpp"

namespace ragdot::cpu {

/// The scale of a block, as the f32 it stands for.
/// `amax_bits` are the bits of the largest finite |x|.
[[nodiscard]] float block_scale(Recipe recipe, Format values, Format scales, std::uint32_t amax_bits);

/// Stores a scale that block_scale gave, exactly.
void store_scale(Format format, float scale, std::byte* at);

/// Bytes of `count` elements x under one scale: nearest even of f32(x / scale) (recipe absmax, fixed) or of x * 2^-e (pow2,
/// mx), saturated. `quotients` is room for `count` floats.
void encode_run(Recipe recipe, Format values, float scale, const float* x, std::int64_t count, float* quotients, std::byte* out,
                std::int64_t out_stride);

}  // namespace ragdot::cpu
