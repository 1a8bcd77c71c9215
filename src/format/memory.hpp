// Loads and stores of elements at any alignment, and the f32 of an element of any format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "format/e4m3.hpp"
#include "format/e5m2.hpp"
#include "format/e8m0.hpp"
#include "format/half.hpp"
#include "ragdot/types.hpp"
#include "ragdot/view.hpp"

namespace ragdot::format {

template <class T>
inline T load(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class T>
inline void store(void* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

/// Where element [b, r, c] of a view lies.
template <class Void>
inline auto* element_at(const BasicView<Void>& v, std::int64_t b, std::int64_t r, std::int64_t c) {
  using Byte = std::conditional_t<std::is_const_v<Void>, const std::byte, std::byte>;
  return static_cast<Byte*>(v.data) + (b * v.batch_stride + r * v.row_stride + c * v.col_stride) * element_bytes(v.format);
}

/// The element at `at` as f32, exactly.
inline float load_f32(const void* at, Format format) {
  switch (format) {
    case Format::f32: return load<float>(at);
    case Format::bf16: return bf16_to_f32(load<std::uint16_t>(at));
    case Format::f16: return f16_to_f32(load<std::uint16_t>(at));
    case Format::e4m3: return kE4m3ToF32[load<std::uint8_t>(at)];
    case Format::e5m2: return kE5m2ToF32[load<std::uint8_t>(at)];
    case Format::i8: return load<std::int8_t>(at);
    case Format::e8m0: return e8m0_to_f32(load<std::uint8_t>(at));
    case Format::none: break;
  }
  return 0;
}

}  // namespace ragdot::format
