// From a block's largest magnitude to its scale, and from an element and its scale to the quotient whose byte is wanted: the
// bits of the CPU's quantisers, with one division for each block and none for an element.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "ragdot/types.hpp"

namespace ragdot::cuda {

/// |x| = mantissa * 2^exponent with 2^23 <= mantissa < 2^24, for subnormals too; x is not zero.
struct Split {
  std::int32_t exponent;
  std::uint32_t mantissa;
};

__host__ __device__ constexpr Split split(std::uint32_t magnitude) {
  const std::uint32_t field = magnitude >> 23;
  if (field != 0) return {static_cast<std::int32_t>(field) - 150, (magnitude & 0x7fffffU) | 0x800000U};
  std::int32_t exponent = -149;
  for (; magnitude < 0x800000U; magnitude <<= 1) --exponent;
  return {exponent, magnitude};
}

/// The bits of 2^e, e clamped to e8m0 codes 1..254.
__host__ __device__ constexpr std::uint32_t power_of_two_bits(std::int32_t e) {
  const std::int32_t code = e + 127 < 1 ? 1 : e + 127 > 254 ? 254 : e + 127;
  return static_cast<std::uint32_t>(code) << 23;
}

/// 448 and 57344 are 7 * 2^6 and 7 * 2^13.
__host__ __device__ constexpr std::int32_t largest_exponent(Format values) { return values == Format::e4m3 ? 6 : 13; }

/// ceil(log2(amax / fmax)).
__host__ __device__ constexpr std::int32_t pow2_exponent(Format values, std::uint32_t amax) {
  const Split a = split(amax);
  return a.exponent + 21 - largest_exponent(values) + (a.mantissa > (7U << 21) ? 1 : 0);
}

/// floor(log2 amax) - emax, emax 8 or 15.
__host__ __device__ constexpr std::int32_t mx_exponent(Format values, std::uint32_t amax) {
  return split(amax).exponent + 23 - (largest_exponent(values) + 2);
}

static_assert(pow2_exponent(Format::e4m3, 0x43e00000U) == 0 && pow2_exponent(Format::e4m3, 0x43e00001U) == 1);
static_assert(pow2_exponent(Format::e5m2, 0x47600000U) == 0 && pow2_exponent(Format::e4m3, 1) == -149 - 8);
static_assert(mx_exponent(Format::e4m3, 0x3f800000U) == -8 && mx_exponent(Format::e5m2, 0x3fffffffU) == -15);

/// The scale of a block whose largest finite magnitude has the bits `amax`.
__device__ inline float block_scale(Recipe recipe, Format values, std::uint32_t amax) {
  if (amax == 0) return 1.0F;
  if (recipe == Recipe::pow2) return __uint_as_float(power_of_two_bits(pow2_exponent(values, amax)));
  if (recipe == Recipe::mx) return __uint_as_float(power_of_two_bits(mx_exponent(values, amax)));
  const float scale = __fdiv_rn(__uint_as_float(amax), values == Format::e4m3 ? 448.0F : 57344.0F);
  return scale > 0x1p-126F ? scale : 0x1p-126F;
}

/// A scale and its reciprocal, rounded to nearest.
using Factor = float2;

/// Whether corrected_quotient gives the byte of the f32 quotient x / s, for every finite x with |x / s| < 2^17.
///
/// r = 1 / s and q = x * r each round once, so q is off by 1.5 ulp at most; the residual x - q s then rounds by at most 2^-24
/// of itself, and q + r * residual is x / s within 3 * 2^-24 ulp before its own rounding. So the result is another float than
/// the quotient only where x / s lies that close to the middle m of two floats, and the byte another only where one of the two
/// is a tie t of the byte format: m = t +- ulp / 2. With s and m as integers of 24 and 25 bits, t is a multiple of 2^20 (e4m3)
/// or 2^21 (e5m2) and m is t +- 1; x, on the grid of their product, is a multiple of 2^24 and differs from s m by at most 6,
/// and not by 0, for no quotient lies in the middle. Hence s is -6..6 but not 0 modulo 2^20. amax / 448 of a bf16 amax is never
/// that: its digits are those of n / 7, period 3, or end after 8 bits.
///
/// The bound on s keeps residuals exact: where a byte is not zero, q is at least 2^-17, its last place 2^-40, that of s 2^-103,
/// and their product is still a multiple of 2^-149. Smaller quotients keep their sign and round to zero either way. At the
/// upper end s <= 2^120, so r is normal.
__host__ __device__ constexpr bool corrected_quotient_is_right(std::uint32_t scale_bits) {
  const bool large_enough = scale_bits >= 0x17800000U;  // 2^-80
  const bool near_multiple = ((scale_bits + 8) & 0xfffffU) <= 16 && (scale_bits & 0xfffffU) != 0;
  return large_enough && !near_multiple;
}

/// x / s for its byte. The residual is taken with the sign that lets -0 stay -0.
__device__ inline float corrected_quotient(float x, Factor factor) {
  const float q = __fmul_rn(x, factor.y);
  const float residual = __fmaf_rn(q, factor.x, -x);
  return __fmaf_rn(-residual, factor.y, q);
}

}  // namespace ragdot::cuda
