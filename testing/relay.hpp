// The same matrices in other memory: padded, transposed, at any byte, with poison between the elements.
#pragma once

#include <cstdint>

#include "ragdot/view.hpp"
#include "testing/bytes.hpp"

namespace ragdot::testing {

/// Where a matrix lies. Rows are contiguous, or columns where it is transposed; `padding` elements lie behind each line,
/// `offset` bytes before the first.
struct Layout {
  bool transposed = false;
  std::int64_t padding = 0;
  std::int64_t offset = 0;

  bool operator==(const Layout&) const = default;
};

/// The view of a copy of `from` in `buffer`, which is poison (bytes 0xff) wherever no element lies.
[[nodiscard]] ConstView relay(const ConstView& from, const Layout& layout, Bytes& buffer);

/// Copies the elements of `from` to `to`, a view of the same shape and format.
void copy_elements(const ConstView& from, const View& to);

}  // namespace ragdot::testing
