// The activations for one f32, on any x86-64.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "cpu/fma.hpp"
#include "format/fault.hpp"
#include "ragdot/types.hpp"

namespace ragdot::cpu::scalar {

using Values = float;

inline float spread(float x) { return x; }
inline float fma(float a, float b, float c) { return fma_f32(a, b, c); }
inline bool less(float a, float b) { return a < b; }
inline bool is_nan(float x) { return std::isnan(x); }
inline float select(bool mask, float yes, float no) { return mask ? yes : no; }
inline float magnitude(float x) { return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x7fffffffU); }
inline float with_sign_of(float size, float x) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(size) | (std::bit_cast<std::uint32_t>(x) & 0x80000000U));
}
inline float power_of_two(float shifted) { return std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) + 127) << 23); }

#include "cpu/isa/finish/activate.hpp"

}  // namespace ragdot::cpu::scalar
