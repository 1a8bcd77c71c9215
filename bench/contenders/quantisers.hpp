// The quantisers as contenders, and where their results lie.
#pragma once

#include "bench/contenders/contender.hpp"
#include "bench/row.hpp"

namespace ragdot::bench {

/// The lhs of a case as bf16 -> FP8 (quantize: on the problem's grid; quantize_both: on that and on its transpose) or back.
[[nodiscard]] MadeContender make_quantiser(Stage stage, const testing::Problem& how, std::shared_ptr<const testing::Case> c);

/// The quantised copies that a quantiser leaves in its buffer: one, or two.
[[nodiscard]] std::vector<QuantizedOut> copies_in(Stage stage, const testing::Case& c, std::byte* buffer);

}  // namespace ragdot::bench
