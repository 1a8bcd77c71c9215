// Is a contender's product right? Asked before it is timed.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "bench/row.hpp"
#include "testing/compare.hpp"

namespace ragdot::bench {

/// First and last rows of groups and random rows, at least eight, about 1e8 multiply-adds together: enough to see a kernel that
/// does something else; ragdot verify looks at all outputs.
[[nodiscard]] std::vector<testing::OutRow> sampled_rows(const testing::Case& c);

/// For the library: the sampled rows lie within the error bound of the exact result. Empty when they do, else a sentence.
[[nodiscard]] std::string refusal_by_oracle(const testing::Case& c, const testing::Bytes& out);

/// For contenders that add in another order: every output is within the two bounds of the library's. With S = sum |a b| and
/// depth d these are E of docs/numerics.md and d u / (1 - d u) S (any order of d f32 additions), u = 2^-24, and half a step of
/// the output format each. Plain products of bf16 operands. Empty when all outputs are, else a sentence.
[[nodiscard]] std::string refusal_by_library(const testing::Case& c, const testing::Bytes& out);

/// For the quantisers: every value is within half a step of e4m3 of the original, or of bf16 of the dequantised value.
[[nodiscard]] std::string refusal_of_quantiser(Stage stage, const testing::Case& c, testing::Bytes out);

}  // namespace ragdot::bench
