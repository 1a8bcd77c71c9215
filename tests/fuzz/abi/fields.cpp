// The values that break calls: limits, neighbours, other formats, other places of the arena.
#include "tests/fuzz/abi/fields.hpp"

#include <limits>

namespace ragdot::fuzz {
namespace {

constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

std::int32_t number32(Input& in) {
  constexpr std::int32_t kEdges[] = {-1, 8, 255, std::numeric_limits<std::int32_t>::min(),
                                     std::numeric_limits<std::int32_t>::max()};
  const std::int64_t choice = in.below(13);
  if (choice < 8) return static_cast<std::int32_t>(choice);
  return choice < 12 ? in.pick(kEdges) : in.number<std::int32_t>();
}

std::int64_t number64(Input& in, std::int64_t old) {
  constexpr std::int64_t kEdges[] = {kLeast,
                                     -1,
                                     0,
                                     1,
                                     2,
                                     std::int64_t{1} << 20,
                                     std::int64_t{1} << 31,
                                     std::int64_t{1} << 32,
                                     std::int64_t{1} << 57,
                                     std::int64_t{1} << 61,
                                     std::int64_t{1} << 62,
                                     kMost};
  // Unsigned, where a sum may wrap.
  const auto bits = static_cast<std::uint64_t>(old);
  switch (in.below(8)) {
    case 0: return static_cast<std::int64_t>(bits + 1);
    case 1: return static_cast<std::int64_t>(bits - 1);
    case 2: return static_cast<std::int64_t>(bits * 2);
    case 3: return static_cast<std::int64_t>(bits + in.byte());
    case 4: return in.byte();
    case 5: return in.number<std::int64_t>();
    default: return in.pick(kEdges);
  }
}

std::size_t size(Input& in, std::size_t old) {
  constexpr std::size_t kEdges[] = {0, 7, 8, 9, std::numeric_limits<std::size_t>::max()};
  switch (in.below(3)) {
    case 0: return old + 8;
    case 1: return static_cast<std::size_t>(in.number<std::uint16_t>()) % 1024;
    default: return in.pick(kEdges);
  }
}

/// `other` is the pointer of another field.
const void* pointer(Input& in, Arena& arena, const void* other) {
  switch (in.below(4)) {
    case 0: return nullptr;
    case 1: return reinterpret_cast<const void*>(kMost - in.byte());
    case 2: return other;
    default: return arena.at(in.number<std::uint16_t>());
  }
}

}  // namespace

void Fields::mutate(Input& in, Arena& arena) const {
  for (std::int64_t mutations = in.below(4); mutations > 0; --mutations) {
    const Field& field = fields_[in.byte() % count_];
    switch (field.kind) {
      case Kind::number32: *static_cast<std::int32_t*>(field.at) = number32(in); break;
      case Kind::number64: *static_cast<std::int64_t*>(field.at) = number64(in, *static_cast<std::int64_t*>(field.at)); break;
      case Kind::size: *static_cast<std::size_t*>(field.at) = size(in, *static_cast<std::size_t*>(field.at)); break;
      case Kind::pointer: {
        const Field& other = fields_[in.byte() % count_];
        const void* held = nullptr;
        if (other.kind == Kind::pointer) std::memcpy(&held, other.at, sizeof held);
        const void* made = pointer(in, arena, held);
        std::memcpy(field.at, &made, sizeof made);
        break;
      }
    }
  }
}

}  // namespace ragdot::fuzz
