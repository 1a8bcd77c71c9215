// A work item: one tile of out, and the two operands as its group sees them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/drive.hpp"
#include "cpu/side.hpp"

namespace ragdot::cpu {

struct Item {
  Side lhs;
  Side rhs;
  std::int64_t row = 0;
  std::int64_t rows = 0;
  std::int64_t col = 0;
  std::int64_t cols = 0;
  std::int64_t depth = 0;
  std::int64_t matrix = -1;  // local group; -1: rows of no group
  std::byte* out = nullptr;  // the tile's first element
};

[[nodiscard]] Item item_of(const Call& call, std::int64_t number);

/// Writes zeros to the item's part of out.
void zero_rows(const Call& call, const Item& item);

}  // namespace ragdot::cpu
