// Elements that lie apart, brought together and back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format/memory.hpp"

namespace ragdot::cpu {

template <class Byte>
struct SteppedBytes {
  Byte* data;
  std::int64_t step;  // bytes from element to element
};

/// Moves `count` elements of 1, 2 or 4 bytes.
inline void move_elements(std::int64_t bytes, std::int64_t count, SteppedBytes<const std::byte> from,
                          SteppedBytes<std::byte> to) {
  const auto move = [&](auto zero) {
    for (std::int64_t i = 0; i < count; ++i)
      format::store(to.data + i * to.step, format::load<decltype(zero)>(from.data + i * from.step));
  };
  if (bytes == 1) return move(std::uint8_t{});
  if (bytes == 2) return move(std::uint16_t{});
  move(std::uint32_t{});
}

}  // namespace ragdot::cpu
