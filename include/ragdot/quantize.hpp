// From f32, bf16 or f16 to scaled FP8 or i8 and back, bit for bit the same on every machine.
#pragma once

#include <optional>

#include "ragdot/execution.hpp"
#include "ragdot/groups.hpp"
#include "ragdot/status.hpp"
#include "ragdot/view.hpp"

namespace ragdot {

/// Where a quantiser writes scales, and on which grid. With groups the row axis is per_group, without it is global.
struct ScalesOut {
  View view;  // f32, bf16 or e8m0; extents as in Scales (view.hpp); for Recipe::fixed it is read, not written
  std::int64_t block_rows = kWholeAxis;
  std::int64_t block_cols = kWholeAxis;
};

/// One quantised copy: where to, and how.
struct QuantizedOut {
  View values;  // [batch, rows, cols] of the input, any strides (transposed storage too); e4m3, e5m2 or i8
  ScalesOut scales;
  Recipe recipe = Recipe::absmax;
};

struct QuantizeArgs {
  ConstView input;               // [batch, rows, cols], f32, bf16 or f16; batch > 1 only without groups
  std::optional<Groups> groups;  // over the rows: blocks restart at each group and never look at rows outside
  QuantizedOut out;
};

/// amax is the largest finite |x| of a block; fmax 448, 57344, 127; emax 8, 15.
///   absmax: s = max(amax / fmax, 2^-126), IEEE f32 division (as bf16: rounded up); byte = RNE_saturate(f32(x / s))
///   pow2:   s = 2^e, e = ceil(log2(amax / fmax)) from the bits, clamped to e8m0 codes 1..254; byte = RNE_saturate(x * 2^-e)
///   mx:     s = 2^e, e = floor(log2 amax) - emax, clamped likewise; the same byte
///   fixed:  s is given; byte = RNE_saturate(f32(x / s))
/// amax == 0 (zeros, or nothing finite): scale 1. Zeros keep their sign; a NaN element gives the NaN byte (i8: an error that
/// names it); Inf saturates (strict: an error that names it). Rows outside the groups get zero bytes; scales that cover nothing
/// are 1. i8 is never -128.
[[nodiscard]] Status quantize(const QuantizeArgs& args, const Options& options = {});

struct QuantizeBothArgs {
  ConstView input;
  std::optional<Groups> groups;
  QuantizedOut row_wise;  // for the forward product
  QuantizedOut col_wise;  // for the weight gradient; values.row_stride == 1 stores it transposed
};

/// Two quantised copies from one read of the input; each equals what quantize gives.
[[nodiscard]] Status quantize_both(const QuantizeBothArgs& args, const Options& options = {});

struct RequantizeArgs {
  Operand input;                 // scaled values
  std::optional<Groups> groups;  // needed where input.scales are per_group; also gives out's row origin
  QuantizedOut out;
};

/// Scaled values to another format, grid or recipe, through f32(value * scale).
[[nodiscard]] Status requantize(const RequantizeArgs& args, const Options& options = {});

struct DequantizeArgs {
  Operand input;
  std::optional<Groups> groups;  // needed where input.scales are per_group; rows outside them become zero
  View out;                      // [batch, rows, cols]; f32, bf16 or f16
};

/// out = value * scale, rounded once to f32, then to out's format.
[[nodiscard]] Status dequantize(const DequantizeArgs& args, const Options& options = {});

/// f32 scales that are all powers of two in e8m0's range, as e8m0 codes; refuses any other and names the first.
[[nodiscard]] Status to_e8m0(ConstView scales, View codes);

}  // namespace ragdot
