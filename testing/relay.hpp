// The same matrices in other memory: padded, transposed, at any byte, with poison between the elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "ragdot/view.hpp"
#include "testing/bytes.hpp"

namespace ragdot::testing {

/// Where a matrix lies. Lines are rows, or columns where it is transposed; `padding` elements lie behind each, `offset` bytes
/// before the first, `gap` elements between two neighbours of a line. Interleaved, the matrices of a batch take turns line by
/// line.
struct Layout {
  bool transposed = false;
  std::int64_t padding = 0;
  std::int64_t offset = 0;
  std::int64_t gap = 0;  // of values: 0, as their lines are contiguous
  bool interleaved = false;

  bool operator==(const Layout&) const = default;
};

/// The view of a copy of `from` in `buffer`, which is poison (bytes 0xff) wherever no element lies.
[[nodiscard]] ConstView relay(const ConstView& from, const Layout& layout, Bytes& buffer);

/// A view of the same shape over other memory, laid out so; `offset` does not count.
[[nodiscard]] ConstView relaid(const ConstView& from, const Layout& layout, const void* data);

/// A view of the same shape and strides over memory to write to.
[[nodiscard]] View writable(const ConstView& from, void* data);

/// Bytes from the first element of a view whose strides are in order to the end of its last one.
[[nodiscard]] std::size_t extent_bytes(const ConstView& view);

/// Copies the elements of `from` to where `to`, a view of the same shape and format, has them; `memory` is what begins at
/// to.data, writable.
void copy_elements(const ConstView& from, const ConstView& to, void* memory);
void copy_elements(const ConstView& from, const View& to);

/// The first byte of `memory`, which was poison, that was written though no element of the view lies there. The elements are
/// poison then.
[[nodiscard]] std::optional<std::size_t> written_between(const View& elements, const Bytes& memory);

}  // namespace ragdot::testing
