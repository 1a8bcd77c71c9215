// From the f32 sums of a row to out: canonical zero and NaN, bias, activation, accumulation, rounding.
#pragma once

#include <cstdint>

#include "ragdot/types.hpp"

namespace ragdot::cpu {

struct EpilogueSpec {
  Format out_format = Format::f32;
  OutMode out_mode = OutMode::overwrite;
  Activation activation = Activation::none;
};

/// Finishes `count` sums. `bias` is null or f32 with its own stride; strides are in elements. In this order: a zero becomes +0;
/// one f32 add of the bias; the activation; with accumulate one f32 add onto out; NaN becomes the canonical one; rounding to
/// nearest even.
void finish_row(const EpilogueSpec& spec, const float* sums, std::int64_t count, const void* bias, std::int64_t bias_stride,
                void* out, std::int64_t out_stride);

}  // namespace ragdot::cpu
