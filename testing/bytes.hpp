// Memory for operands and outputs, aligned as frameworks align tensors.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace ragdot::testing {

/// PyTorch and JAX begin tensors at a cache line.
inline constexpr std::size_t kTensorAlignment = 64;

template <class T>
struct TensorAllocator {
  using value_type = T;

  TensorAllocator() = default;
  template <class U>
  explicit TensorAllocator(const TensorAllocator<U>&) {}

  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t{kTensorAlignment}));
  }
  void deallocate(T* at, std::size_t) { ::operator delete(at, std::align_val_t{kTensorAlignment}); }
  template <class U>
  bool operator==(const TensorAllocator<U>&) const {
    return true;
  }
};

using Bytes = std::vector<std::byte, TensorAllocator<std::byte>>;

}  // namespace ragdot::testing
