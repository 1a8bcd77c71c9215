// Copies element by element; every stride is honoured.
#include "testing/relay.hpp"

#include <cstring>

namespace ragdot::testing {
namespace {

template <class Void>
std::int64_t byte_of(const BasicView<Void>& v, std::int64_t b, std::int64_t r, std::int64_t c) {
  return (b * v.batch_stride + r * v.row_stride + c * v.col_stride) * element_bytes(v.format);
}

}  // namespace

void copy_elements(const ConstView& from, const View& to) {
  const auto bytes = static_cast<std::size_t>(element_bytes(from.format));
  for (std::int64_t b = 0; b < from.batch; ++b) {
    for (std::int64_t r = 0; r < from.rows; ++r) {
      for (std::int64_t c = 0; c < from.cols; ++c) {
        std::memcpy(static_cast<std::byte*>(to.data) + byte_of(to, b, r, c),
                    static_cast<const std::byte*>(from.data) + byte_of(from, b, r, c), bytes);
      }
    }
  }
}

ConstView relay(const ConstView& from, const Layout& layout, Bytes& buffer) {
  const std::int64_t inner = (layout.transposed ? from.rows : from.cols) + layout.padding;
  const std::int64_t outer = layout.transposed ? from.cols : from.rows;
  const std::int64_t elements = from.batch * outer * inner;
  buffer.assign(static_cast<std::size_t>(elements * element_bytes(from.format) + layout.offset), std::byte{0xff});
  const View to = {buffer.data() + layout.offset,
                   from.format,
                   from.batch,
                   from.rows,
                   from.cols,
                   outer * inner,
                   layout.transposed ? 1 : inner,
                   layout.transposed ? inner : 1};
  copy_elements(from, to);
  return to;
}

}  // namespace ragdot::testing
