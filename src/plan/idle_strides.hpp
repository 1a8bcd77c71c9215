// Strides that nothing is reached by, set to zero behind the checks: loops may then form addresses near a view's elements, of
// lines that it does not have, without leaving the address space.
#pragma once

#include "ragdot/quantize.hpp"
#include "ragdot/view.hpp"

namespace ragdot::plan {

/// The view as the library's loops see it. An axis of one element may come with any stride, an absent view with any field.
template <class Byte>
[[nodiscard]] BasicView<Byte> without_idle_strides(BasicView<Byte> view) {
  if (!view.present()) return {};
  if (view.batch <= 1) view.batch_stride = 0;
  if (view.rows <= 1) view.row_stride = 0;
  if (view.cols <= 1) view.col_stride = 0;
  return view;
}

[[nodiscard]] inline Operand without_idle_strides(Operand operand) {
  operand.values = without_idle_strides(operand.values);
  operand.scales.view = without_idle_strides(operand.scales.view);
  return operand;
}

[[nodiscard]] inline QuantizedOut without_idle_strides(QuantizedOut copy) {
  copy.values = without_idle_strides(copy.values);
  copy.scales.view = without_idle_strides(copy.scales.view);
  return copy;
}

}  // namespace ragdot::plan
