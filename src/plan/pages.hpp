// Memory in large pages, where the system has them, for what is read in long runs from end to end.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>

namespace ragdot::plan {

/// Each 4 KiB page costs a walk through page tables that caches do not hold: a core reads 92 MB of FP8 at 12 GB/s from large
/// pages and at 8 from small ones (Intel Xeon with AMX in a virtual machine).
template <class T>
struct LargePageAllocator {
  using value_type = T;
  static constexpr std::size_t kPage = std::size_t{2} << 20;
  static constexpr std::size_t kLine = 64;

  LargePageAllocator() = default;
  template <class U>
  explicit LargePageAllocator(const LargePageAllocator<U>&) {}

  static std::align_val_t alignment(std::size_t bytes) { return std::align_val_t{bytes < kPage ? kLine : kPage}; }

  T* allocate(std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    void* at = ::operator new(bytes, alignment(bytes));
    if (bytes >= kPage) madvise(at, bytes / kPage * kPage, MADV_HUGEPAGE);  // a wish: refused, it is memory all the same
    return static_cast<T*>(at);
  }
  void deallocate(T* at, std::size_t count) { ::operator delete(at, alignment(count * sizeof(T))); }

  template <class U>
  bool operator==(const LargePageAllocator<U>&) const {
    return true;
  }
};

}  // namespace ragdot::plan
