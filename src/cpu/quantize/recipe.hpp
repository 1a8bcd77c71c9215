// From the largest magnitude of a block to its scale, and from an element to its byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ragdot/types.hpp"

namespace ragdot::cpu {

/// The scale of a block, as the f32 it stands for.
/// `amax_bits` are the bits of the largest finite |x|.
[[nodiscard]] float block_scale(Recipe recipe, Format values, Format scales, std::uint32_t amax_bits);

/// Stores a scale that block_scale gave, exactly.
void store_scale(Format format, float scale, std::byte* at);

/// What an element is divided by (absmax, fixed) or multiplied with (pow2, mx) before it is rounded.
[[nodiscard]] float factor_of(Recipe recipe, float scale);

/// Bytes of a row x: nearest even of f32(x / factor) or of x * factor, saturated. A factor for each element. Needs rounding to
/// nearest even.
void encode(Recipe recipe, Format values, const float* factors, std::span<const float> x, std::byte* out);

}  // namespace ragdot::cpu
