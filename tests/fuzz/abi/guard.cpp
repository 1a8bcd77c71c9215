// Reach and overlap by plain enumeration in 128 bits: nothing shared with the rules of the library.
#include "tests/fuzz/abi/guard.hpp"

#include <algorithm>
#include <limits>

namespace ragdot::fuzz {
namespace {

std::int64_t bytes_of(std::int32_t format) {
  switch (format) {
    case RAGDOT_F32: return 4;
    case RAGDOT_BF16:
    case RAGDOT_F16: return 2;
    case RAGDOT_E4M3:
    case RAGDOT_E5M2:
    case RAGDOT_I8:
    case RAGDOT_E8M0: return 1;
    default: return 0;
  }
}

constexpr __int128 kFar = static_cast<__int128>(1) << 100;  // beyond all memory, and sums of it fit

}  // namespace

template <class View>
Guard::Memory Guard::memory_of(const View& v) {
  return {static_cast<const std::byte*>(v.data),
          bytes_of(v.format),
          {{{v.batch, v.batch_stride}, {v.rows, v.row_stride}, {v.cols, v.col_stride}}}};
}

template <class Pointer>
Guard::Reach Guard::hold(const Memory& m, Pointer& data, Beyond beyond) {
  bool known = m.element_bytes > 0;
  bool empty = false;
  bool steps_back = false;
  __int128 last = 0;
  for (const Axis& axis : m.axes) {
    known = known && axis.extent >= 0;
    empty = empty || axis.extent == 0;
    steps_back = steps_back || (axis.extent > 1 && axis.stride < 0);
    const __int128 step = axis.extent > 1 ? static_cast<__int128>(axis.extent - 1) * axis.stride : 0;
    last += std::clamp(step, -kFar, kFar);
  }
  if (known && empty) return Reach::nothing;  // whatever its strides
  known = known && !steps_back;
  const __int128 bytes = (last + 1) * m.element_bytes;
  if (known && arena_.holds(data, bytes)) {
    arena_.open(data, static_cast<std::int64_t>(bytes));
    return Reach::within;
  }
  const bool is_beyond =
      known && static_cast<__int128>(reinterpret_cast<std::uintptr_t>(data)) + bytes > std::numeric_limits<std::int64_t>::max();
  if (!is_beyond || beyond == Beyond::unchecked) data = nullptr;
  refused_ = true;
  return Reach::unknown;
}

template <class Visit>
bool Guard::for_elements(const Memory& m, Visit visit) {
  __int128 count = m.element_bytes;
  for (const Axis& axis : m.axes) {
    count *= axis.extent;
    if (count > Arena::kBytes) return false;
  }
  for (std::int64_t b = 0; b < m.axes[0].extent; ++b) {
    for (std::int64_t r = 0; r < m.axes[1].extent; ++r) {
      for (std::int64_t c = 0; c < m.axes[2].extent; ++c) {
        // The stride of an axis of one element may be any number.
        const std::int64_t index =
            (b == 0 ? 0 : b * m.axes[0].stride) + (r == 0 ? 0 : r * m.axes[1].stride) + (c == 0 ? 0 : c * m.axes[2].stride);
        if (!visit(m.data + index * m.element_bytes)) return false;
      }
    }
  }
  return true;
}

void Guard::reads(ragdot_const_view& view) {
  if (view.format == RAGDOT_NONE) return;
  const Memory memory = memory_of(view);
  if (hold(memory, view.data, Beyond::refused) == Reach::within) reads_[read_count_++] = memory;
}

void Guard::reads(ragdot_operand& operand) {
  reads(operand.values);
  reads(operand.scales.view);
}

void Guard::reads(const void*& data, std::int64_t count, std::int64_t element_bytes) {
  const Memory memory{static_cast<const std::byte*>(data), element_bytes, {{{1, 0}, {1, 0}, {count, 1}}}};
  if (hold(memory, data, Beyond::unchecked) == Reach::within) reads_[read_count_++] = memory;
}

void Guard::reads(ragdot_groups& groups) {
  const bool known = groups.index == RAGDOT_INDEX_I32 || groups.index == RAGDOT_INDEX_I64;
  const std::int64_t bytes = known ? (groups.index == RAGDOT_INDEX_I64 ? 8 : 4) : 0;
  const bool fits = groups.count < std::numeric_limits<std::int64_t>::max();
  reads(groups.data, groups.count + (groups.kind == RAGDOT_OFFSETS && fits ? 1 : 0), bytes);
  if (groups.kind == RAGDOT_STARTS_AND_SIZES) reads(groups.sizes, groups.count, bytes);
}

void Guard::writes(ragdot_view& view) {
  if (view.format == RAGDOT_NONE) return;
  const Memory memory = memory_of(view);
  if (hold(memory, view.data, Beyond::refused) == Reach::within) writes_[write_count_++] = memory;
}

void Guard::writes(double* data, std::int64_t count) {
  const Memory memory{reinterpret_cast<const std::byte*>(data), sizeof(double), {{{1, 0}, {1, 0}, {count, 1}}}};
  if (data != nullptr && hold(memory, data, Beyond::unchecked) == Reach::within) shared_[shared_count_++] = memory;
}

void Guard::writes(ragdot_quantized_out& out) {
  writes(out.values);
  if (out.recipe != RAGDOT_FIXED) return writes(out.scales.view);
  const ragdot_view& s = out.scales.view;
  ragdot_const_view given{s.data, s.format, s.batch, s.rows, s.cols, s.batch_stride, s.row_stride, s.col_stride};
  reads(given);
  if (given.data == nullptr) out.scales.view.data = nullptr;
}

bool Guard::seal() {
  for (std::size_t i = 0; i < write_count_; ++i) {
    const Memory& m = writes_[i];
    refused_ = !for_elements(m, [&](const std::byte* at) { return arena_.mark_written(at, m.element_bytes); }) || refused_;
  }
  for (std::size_t i = 0; i < read_count_; ++i) {
    const Memory& m = reads_[i];
    refused_ = !for_elements(m, [&](const std::byte* at) { return !arena_.is_written(at, m.element_bytes); }) || refused_;
  }
  for (std::size_t i = 0; i < shared_count_; ++i) {
    const Memory& m = shared_[i];
    for_elements(m, [&](const std::byte* at) { return arena_.mark_written(at, m.element_bytes); });
  }
  arena_.seal();
  return refused_;
}

}  // namespace ragdot::fuzz
