// The choices a call is made of: formats, activations, recipes, tilings. The numbers are part of the C ABI.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace ragdot {

/// Formats of values, scales and outputs.
enum class Format : std::int32_t {
  none = 0,  // absent
  f32 = 1,
  bf16 = 2,
  f16 = 3,   // outputs of products, inputs of quantisers
  e4m3 = 4,  // OCP E4M3FN: max 448, NaN 0x7F and 0xFF, no Inf
  e5m2 = 5,  // OCP E5M2: max 57344, Inf and NaN
  i8 = 6,
  e8m0 = 7,  // scales only: 2^(code - 127), 255 = NaN
};

/// Applied to the f32 result (after bias) before it is rounded to the output format.
enum class Activation : std::int32_t { none = 0, relu = 1, tanh = 2, silu = 3, gelu_tanh = 4, gelu_erf = 5 };

/// What gmm does with rows of `out` that belong to no local group.
enum class RowsOutside : std::int32_t { zero = 0, leave = 1 };

/// How the memory of gmm's rhs lies.
enum class RhsLayout : std::int32_t {
  strided = 0,  // as the strides of its view say
  packed = 1,   // as pack_values writes it; the strides are not read
};

/// overwrite: out = result. accumulate: out += result with one f32 add; out is f32; empty slabs and rows outside are not
/// written.
enum class OutMode : std::int32_t { overwrite = 0, accumulate = 1 };

/// Where the blocks of a scale grid start on a row axis that is cut into groups.
enum class ScaleOrigin : std::int32_t {
  global = 0,     // at multiples of the block from row 0; a block may straddle two groups
  per_group = 1,  // anew at each group's first row; the scale rows of all groups follow each other
};

/// How a quantiser chooses scales (the formulas are in quantize.hpp).
enum class Recipe : std::int32_t { absmax = 0, pow2 = 1, mx = 2, fixed = 3 };

/// ieee: a scale that is NaN, Inf, zero or negative propagates by IEEE rules. strict: it is an error that names its index.
enum class Strictness : std::int32_t { ieee = 0, strict = 1 };

/// As the block of a scale grid: one scale for the whole axis (its extent is 1, even when the axis is empty).
inline constexpr std::int64_t kWholeAxis = std::numeric_limits<std::int64_t>::max();

/// Work-item size in elements of out rows, reduction depth and out columns. Any positive sizes; never changes a bit.
struct Tiling {
  std::int64_t tm = 0;
  std::int64_t tk = 0;
  std::int64_t tn = 0;
};

/// Bytes of one element, 0 for Format::none or a number that is no format.
[[nodiscard]] constexpr std::int64_t element_bytes(Format format) {
  switch (format) {
    case Format::f32: return 4;
    case Format::bf16:
    case Format::f16: return 2;
    case Format::e4m3:
    case Format::e5m2:
    case Format::i8:
    case Format::e8m0: return 1;
    case Format::none: break;
  }
  return 0;
}

/// "e4m3", "bf16", ...; "none" or "?" for what is no value format.
[[nodiscard]] constexpr const char* name(Format format) {
  switch (format) {
    case Format::none: return "none";
    case Format::f32: return "f32";
    case Format::bf16: return "bf16";
    case Format::f16: return "f16";
    case Format::e4m3: return "e4m3";
    case Format::e5m2: return "e5m2";
    case Format::i8: return "i8";
    case Format::e8m0: return "e8m0";
  }
  return "?";
}

}  // namespace ragdot
