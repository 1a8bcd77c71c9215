// What a problem costs at the least: arithmetic operations, and bytes that have to move.
#pragma once

#include "bench/row.hpp"
#include "testing/case.hpp"

namespace ragdot::bench {

struct Work {
  double operations = 0;  // multiplications and additions
  double bytes = 0;       // every operand, its scales and out, once; weights of empty groups are not needed
};

/// Of a product, or of a quantiser on the lhs, which multiplies nothing that counts.
[[nodiscard]] Work work_of(Stage stage, const testing::Case& c);

}  // namespace ragdot::bench
