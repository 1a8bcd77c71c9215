// What the harness can prove of a call before the library sees it: that every view which the library may touch lies within the
// arena, or that the library has to refuse the call.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "ragdot/ragdot.h"
#include "tests/fuzz/abi/arena.hpp"

namespace ragdot::fuzz {

/// Takes the views of one call. A view that is not provably within the arena loses its pointer (unless that lies beyond the
/// address space): null is a refusal as well, and a call with such a view must be refused.
class Guard {
 public:
  explicit Guard(Arena& arena) : arena_(arena) {}

  void reads(ragdot_const_view& view);
  void reads(ragdot_operand& operand);
  void reads(ragdot_groups& groups);
  /// `count` elements in one run.
  void reads(const void*& data, std::int64_t count, std::int64_t element_bytes);
  void writes(ragdot_view& view);
  /// `count` numbers in one run, which may share memory with what is read; null: none.
  void writes(double* data, std::int64_t count);
  /// Values and scales of a quantised copy; scales that are given (recipe fixed) are read.
  void writes(ragdot_quantized_out& out);
  void must_refuse() { refused_ = true; }

  /// Looks for reads that meet writes, opens what the call may touch and seals the arena. Whether the call must be refused.
  bool seal();

 private:
  struct Axis {
    std::int64_t extent = 0;
    std::int64_t stride = 0;
  };
  struct Memory {
    const std::byte* data = nullptr;
    std::int64_t element_bytes = 0;
    std::array<Axis, 3> axes;
  };
  enum class Reach : std::int32_t { nothing, within, unknown };
  /// What becomes of a pointer beyond the address space: views are refused with it, arrays of numbers are not looked at.
  enum class Beyond : std::int32_t { refused, unchecked };

  template <class View>
  static Memory memory_of(const View& view);
  /// Takes the pointer of what is not within the arena.
  template <class Pointer>
  Reach hold(const Memory& memory, Pointer& data, Beyond beyond);
  /// False where elements meet each other: more of them than bytes, or one written twice.
  template <class Visit>
  static bool for_elements(const Memory& memory, Visit visit);

  Arena& arena_;
  bool refused_ = false;
  std::array<Memory, 16> reads_;
  std::size_t read_count_ = 0;
  std::array<Memory, 8> writes_;
  std::size_t write_count_ = 0;
  std::array<Memory, 2> shared_;
  std::size_t shared_count_ = 0;
};

}  // namespace ragdot::fuzz
