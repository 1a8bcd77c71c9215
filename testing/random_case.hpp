// Random calls of every kind: a problem and a way to call it, from a seed and an index alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "testing/laid_case.hpp"
#include "testing/problem.hpp"

namespace ragdot::testing {

struct RandomCase {
  Problem problem;
  Call call;
};

/// Case `index` of `seed`: the same on every machine, whatever its CPU; every one is legal. Most axes are below 100, some reach
/// 300, few one axis of 1,500, fewer one of 20,000; about half a million multiply-adds at most, but for one case of a thousand
/// whose out has more than 4 MiB.
[[nodiscard]] RandomCase random_case(std::uint64_t seed, std::uint64_t index);

/// Which block of an operand lies along the axis that is summed over.
enum class Side : std::int32_t { lhs, rhs };
[[nodiscard]] std::int64_t OperandSpec::* reduction_block(const Problem& problem, Side side);

/// How many cases had what: value and count for each property.
using Coverage = std::map<std::string, std::map<std::string, std::int64_t>>;

/// Adds a case's properties.
void count_properties(const RandomCase& random, Coverage& coverage);

}  // namespace ragdot::testing
