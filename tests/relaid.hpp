// Operands in other memory: other offsets, strides and storage orders, the same elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ragdot/ragdot.hpp"

namespace ragdot::suites {

/// A copy of an operand: offset bytes, padded rows, rows or columns contiguous, everything else poison.
struct Relaid {
  std::vector<std::byte> values;
  std::vector<std::byte> scales;
  Operand operand;
};

/// Scales are stored the other way round. `to` borrows nothing of `from`.
void relay(const Operand& from, std::int64_t offset, bool transposed, std::int64_t padding, Relaid& to);

}  // namespace ragdot::suites
