// Copies element by element; every stride is honoured.
#include "testing/relay.hpp"

#include <cstring>

namespace ragdot::testing {
namespace {

std::int64_t byte_of(const ConstView& v, std::int64_t b, std::int64_t r, std::int64_t c) {
  return (b * v.batch_stride + r * v.row_stride + c * v.col_stride) * element_bytes(v.format);
}

}  // namespace

ConstView relaid(const ConstView& from, const Layout& layout, const void* data) {
  const std::int64_t inner = (layout.transposed ? from.rows : from.cols) + layout.padding;
  ConstView to = from;
  to.data = data;
  to.batch_stride = (layout.transposed ? from.cols : from.rows) * inner;
  to.row_stride = layout.transposed ? 1 : inner;
  to.col_stride = layout.transposed ? inner : 1;
  return to;
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

ConstView relay(const ConstView& from, const Layout& layout, Bytes& buffer) {
  ConstView to = relaid(from, layout, nullptr);
  buffer.assign(static_cast<std::size_t>(to.batch * to.batch_stride * element_bytes(to.format) + layout.offset),
                std::byte{0xff});
  to.data = buffer.data() + layout.offset;
  copy_elements(from, to, buffer.data() + layout.offset);
  return to;
}

}  // namespace ragdot::testing
