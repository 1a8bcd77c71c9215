// Replaces the program's operator new by one over malloc, which AddressSanitizer still watches.
#include "tests/fuzz/abi/allocations.hpp"

#include <cstdlib>
#include <new>

namespace ragdot::fuzz {
namespace {

struct State {
  bool armed = false;
  std::int64_t left = -1;  // allocations before the one that fails; negative: none fails
};
thread_local State state;

void* allocate(std::size_t bytes, std::size_t alignment) {
  const bool absurd = state.armed && bytes > FailingAllocations::kMostBytes;
  if (absurd || (state.armed && state.left >= 0 && state.left-- == 0)) throw std::bad_alloc();
  void* at = alignment <= alignof(std::max_align_t)
                 ? std::malloc(bytes)
                 : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}

}  // namespace

FailingAllocations::FailingAllocations(std::int64_t failing) { state = {true, failing}; }
FailingAllocations::~FailingAllocations() { state = {}; }

}  // namespace ragdot::fuzz

void* operator new(std::size_t bytes) { return ragdot::fuzz::allocate(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return ragdot::fuzz::allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes) { return ragdot::fuzz::allocate(bytes, 1); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return std::malloc(bytes); }
void operator delete(void* at) noexcept { std::free(at); }
void operator delete(void* at, std::size_t) noexcept { std::free(at); }
void operator delete(void* at, std::align_val_t) noexcept { std::free(at); }
void operator delete(void* at, std::size_t, std::align_val_t) noexcept { std::free(at); }
void operator delete[](void* at) noexcept { std::free(at); }
void operator delete[](void* at, std::size_t) noexcept { std::free(at); }
