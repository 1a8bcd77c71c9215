// What quantising costs: how far a weight is from its bytes, and what in it was no number.
#pragma once

#include <cstdint>
#include <string>

#include "ragdot/ragdot.hpp"

namespace ragdot::cli {

/// What a quantised weight lost.
struct Loss {
  double relative_error = 0;  // of the finite values; NaN where there is none
  std::int64_t nans = 0;
  std::int64_t infs = 0;

  [[nodiscard]] bool all_finite() const { return nans + infs == 0; }
};

/// ||x - dequantised|| / ||x||, one matrix of the batch at a time.
[[nodiscard]] Status measure(const ConstView& input, const Operand& quantised, Loss& loss);

/// "3 NaN and 1 Inf".
[[nodiscard]] std::string text_of(const Loss& loss);

}  // namespace ragdot::cli
