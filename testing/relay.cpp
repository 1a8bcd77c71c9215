// Copies element by element; every stride is honoured.
#include "testing/relay.hpp"

#include <algorithm>
#include <cstring>

namespace ragdot::testing {
namespace {

std::int64_t byte_of(const ConstView& v, std::int64_t b, std::int64_t r, std::int64_t c) {
  return (b * v.batch_stride + r * v.row_stride + c * v.col_stride) * element_bytes(v.format);
}

/// Elements from a line to the next.
std::int64_t line_of(const ConstView& from, const Layout& layout) {
  return (layout.transposed ? from.rows : from.cols) * (1 + layout.gap) + layout.padding;
}

}  // namespace

ConstView relaid(const ConstView& from, const Layout& layout, const void* data) {
  const std::int64_t step = 1 + layout.gap;
  const std::int64_t line = line_of(from, layout);
  const std::int64_t outer = layout.interleaved ? from.batch * line : line;
  ConstView to = from;
  to.data = data;
  to.batch_stride = layout.interleaved ? line : (layout.transposed ? from.cols : from.rows) * line;
  to.row_stride = layout.transposed ? step : outer;
  to.col_stride = layout.transposed ? outer : step;
  return to;
}

View writable(const ConstView& from, void* data) {
  return {data, from.format, from.batch, from.rows, from.cols, from.batch_stride, from.row_stride, from.col_stride};
}

std::size_t extent_bytes(const ConstView& view) {
  if (view.batch == 0 || view.rows == 0 || view.cols == 0) return 0;
  return static_cast<std::size_t>(byte_of(view, view.batch - 1, view.rows - 1, view.cols - 1) + element_bytes(view.format));
}

void copy_elements(const ConstView& from, const ConstView& to, void* memory) {
  const auto bytes = static_cast<std::size_t>(element_bytes(from.format));
  for (std::int64_t b = 0; b < from.batch; ++b) {
    for (std::int64_t r = 0; r < from.rows; ++r) {
      for (std::int64_t c = 0; c < from.cols; ++c) {
        std::memcpy(static_cast<std::byte*>(memory) + byte_of(to, b, r, c),
                    static_cast<const std::byte*>(from.data) + byte_of(from, b, r, c), bytes);
      }
    }
  }
}

void copy_elements(const ConstView& from, const View& to) { copy_elements(from, to, to.data); }

std::optional<std::size_t> written_between(const View& elements, const Bytes& memory) {
  const auto bytes = static_cast<std::size_t>(element_bytes(elements.format));
  for (std::int64_t b = 0; b < elements.batch; ++b) {
    for (std::int64_t r = 0; r < elements.rows; ++r) {
      for (std::int64_t c = 0; c < elements.cols; ++c)
        std::memset(static_cast<std::byte*>(elements.data) + byte_of(elements, b, r, c), 0xff, bytes);
    }
  }
  const auto written = std::find_if(memory.begin(), memory.end(), [](std::byte b) { return b != std::byte{0xff}; });
  if (written == memory.end()) return {};
  return static_cast<std::size_t>(written - memory.begin());
}

ConstView relay(const ConstView& from, const Layout& layout, Bytes& buffer) {
  ConstView to = relaid(from, layout, nullptr);
  const std::int64_t lines = to.batch * (layout.transposed ? to.cols : to.rows);
  buffer.assign(static_cast<std::size_t>(lines * line_of(from, layout) * element_bytes(to.format) + layout.offset),
                std::byte{0xff});
  to.data = buffer.data() + layout.offset;
  copy_elements(from, to, buffer.data() + layout.offset);
  return to;
}

}  // namespace ragdot::testing
