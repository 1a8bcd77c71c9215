// Operands in other memory: other offsets, strides and storage orders, the same elements.
#pragma once

#include <cstdint>

#include "ragdot/ragdot.hpp"
#include "testing/bytes.hpp"

namespace ragdot::suites {

/// A copy of an operand: offset bytes, padded rows, rows or columns contiguous, everything else poison.
struct Relaid {
  testing::Bytes values;
  testing::Bytes scales;
  Operand operand;
};

/// Scales are stored the other way round. `to` borrows nothing of `from`.
void relay(const Operand& from, std::int64_t offset, bool transposed, std::int64_t padding, Relaid& to);

}  // namespace ragdot::suites
