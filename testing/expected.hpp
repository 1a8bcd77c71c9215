// What an output may be: the interval around the exact result after bias, activation, accumulation and rounding.
#pragma once

#include "ragdot/types.hpp"
#include "reference/oracle.hpp"

namespace ragdot::testing {

/// What happens behind the product of one output.
struct Finish {
  Format out = Format::f32;
  Activation activation = Activation::none;
  bool has_bias = false;
  double bias = 0;
  bool accumulates = false;
  double before = 0;  // what out held
};

struct Expected {
  double value = 0;  // exact
  double bound = 0;  // around it, before rounding to out
  double low = 0;    // rounded to out
  double high = 0;
};

/// `exact` is finite and does not overflow.
[[nodiscard]] Expected expected_output(const reference::Exact& exact, const Finish& finish);

/// x in an output format: nearest even, overflow to Inf.
[[nodiscard]] double rounded_to(Format format, double x);

/// The output at `index` of dense bytes.
[[nodiscard]] double output_at(Format format, const void* data, std::int64_t index);

/// x, rounded, to `index` of dense bytes; NaN becomes the canonical one.
void store_output(Format format, double x, void* data, std::int64_t index);

}  // namespace ragdot::testing
