// The structs of cuda.h from views of XLA's buffers.
#pragma once

#include <cstdint>

#include "ragdot/cuda.h"
#include "ragdot/ragdot.hpp"

namespace ragdot::jax {

inline ragdot_const_view c_view(const ConstView& v) {
  return {v.data, static_cast<std::int32_t>(v.format), v.batch, v.rows, v.cols, v.batch_stride, v.row_stride, v.col_stride};
}

inline ragdot_view c_view(const View& v) {
  return {v.data, static_cast<std::int32_t>(v.format), v.batch, v.rows, v.cols, v.batch_stride, v.row_stride, v.col_stride};
}

/// Values and, unless their view is absent, scales.
inline ragdot_operand c_operand(const ConstView& values, const Scales& scales) {
  return {c_view(values),
          {c_view(scales.view), scales.block_rows, scales.block_cols, static_cast<std::int32_t>(scales.origin)}};
}

/// Groups by the starts and the sizes that lie behind each other in device memory; they are not read.
inline ragdot_groups c_groups(const void* spans, bool wide, std::int64_t count) {
  const std::int64_t bytes = wide ? 8 : 4;
  return {RAGDOT_STARTS_AND_SIZES, wide ? RAGDOT_INDEX_I64 : RAGDOT_INDEX_I32, spans,
          static_cast<const std::byte*>(spans) + count * bytes, count};
}

}  // namespace ragdot::jax
