// Quotients of times of one interleaved run, named as people speak of them.
#pragma once

#include <string>
#include <vector>

#include "bench/row.hpp"

namespace ragdot::bench {

struct Ratio {
  std::string name;
  Quotient quotient;
};
using Ratios = std::vector<Ratio>;

/// "gmm.w0.blockwise/bf16": time of blockwise over time of bf16, and so on, from the rows of one comparison.
[[nodiscard]] Ratios ratios_of(const std::vector<Row>& rows);

}  // namespace ragdot::bench
