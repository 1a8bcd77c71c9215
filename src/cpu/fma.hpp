// An f32 fma that rounds once on any x86-64, without FMA instructions or a library call.
#pragma once

#include <bit>
#include <cstdint>

namespace ragdot::cpu {

/// a * b + c rounded once to f32, as VFMADD gives it under the same MXCSR (round to nearest even; flushing included).
/// The product is exact in double. The sum is rounded to odd: when it is inexact and its last bit is even, it moves one step
/// toward what was lost; 53 bits rounded to odd and then to 24 are rounded once, since 53 >= 24 + 2.
inline float fma_f32(float a, float b, float c) {
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const double addend = static_cast<double>(c);
  const double sum = product + addend;
  const double virtual_addend = sum - product;
  const double lost = (product - (sum - virtual_addend)) + (addend - virtual_addend);
  const auto sum_bits = std::bit_cast<std::int64_t>(sum);
  const auto lost_bits = std::bit_cast<std::int64_t>(lost);
  constexpr std::int64_t kExponent = 0x7ff0000000000000;
  const bool finite = (sum_bits & kExponent) != kExponent;
  const bool inexact = (lost_bits << 1) != 0;
  const bool even = (sum_bits & 1) == 0;
  const std::int64_t step = ((sum_bits ^ lost_bits) >> 63) | 1;  // +1 away from zero, -1 toward it
  const std::int64_t odd = sum_bits + ((finite & inexact & even) ? step : 0);
  return static_cast<float>(std::bit_cast<double>(odd));
}

}  // namespace ragdot::cpu
