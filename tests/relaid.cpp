// Values and scales into memory of their own.
#include "tests/relaid.hpp"

#include "testing/relay.hpp"

namespace ragdot::suites {

void relay(const Operand& from, std::int64_t offset, bool transposed, std::int64_t padding, Relaid& to) {
  to.operand = from;
  to.operand.values = testing::relay(from.values, {transposed, padding, offset}, to.values);
  if (from.scales.present())
    to.operand.scales.view = testing::relay(from.scales.view, {!transposed, padding, offset}, to.scales);
}

}  // namespace ragdot::suites
