// Copies operands element by element into poisoned memory.
#include "tests/relaid.hpp"

#include <cstring>

namespace ragdot::suites {
namespace {

ConstView relay(const ConstView& from, std::int64_t offset, bool transposed, std::int64_t padding,
                std::vector<std::byte>& buffer) {
  const std::int64_t bytes = element_bytes(from.format);
  const std::int64_t inner = (transposed ? from.rows : from.cols) + padding;
  const std::int64_t outer = transposed ? from.cols : from.rows;
  buffer.assign(static_cast<std::size_t>(from.batch * outer * inner * bytes + offset), std::byte{0xff});
  ConstView to = from;
  to.data = buffer.data() + offset;
  to.batch_stride = outer * inner;
  to.row_stride = transposed ? 1 : inner;
  to.col_stride = transposed ? inner : 1;
  for (std::int64_t b = 0; b < from.batch; ++b) {
    for (std::int64_t r = 0; r < from.rows; ++r) {
      for (std::int64_t c = 0; c < from.cols; ++c) {
        std::memcpy(buffer.data() + offset + (b * to.batch_stride + r * to.row_stride + c * to.col_stride) * bytes,
                    static_cast<const std::byte*>(from.data) +
                        (b * from.batch_stride + r * from.row_stride + c * from.col_stride) * bytes,
                    static_cast<std::size_t>(bytes));
      }
    }
  }
  return to;
}

}  // namespace

void relay(const Operand& from, std::int64_t offset, bool transposed, std::int64_t padding, Relaid& to) {
  to.operand = from;
  to.operand.values = relay(from.values, offset, transposed, padding, to.values);
  if (from.scales.present()) to.operand.scales.view = relay(from.scales.view, offset, !transposed, padding, to.scales);
}

}  // namespace ragdot::suites
