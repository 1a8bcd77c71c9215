// In front of glibc's allocator, of oneTBB's for tasks, and of the two calls that libraries get memory and stacks by.
#include "tests/promises/failing_memory.hpp"

#include <dlfcn.h>
#include <oneapi/tbb/detail/_small_object_pool.h>
#include <pthread.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <new>

namespace {

std::atomic<std::int64_t> first_failure{-1};
std::atomic<bool> fails_behind{false};
std::atomic<std::int64_t> seen{0};
std::atomic<std::int64_t> failed{0};
std::atomic<std::int64_t> live{0};

/// Whether the allocation at hand has to fail.
bool fails() {
  const std::int64_t first = first_failure.load();
  if (first < 0) return false;
  const std::int64_t number = seen.fetch_add(1);
  const bool now = number == first || (number > first && fails_behind.load());
  if (!now) return false;
  failed.fetch_add(1);
  errno = ENOMEM;
  return true;
}

/// The next definition behind this program's.
template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

void* counted(void* at) {
  if (at != nullptr) live.fetch_add(1);
  return at;
}

}  // namespace

extern "C" {

void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t count, std::size_t bytes);
void* __libc_realloc(void* at, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);
void __libc_free(void* at);

void* malloc(std::size_t bytes) { return fails() ? nullptr : counted(__libc_malloc(bytes)); }
void* calloc(std::size_t count, std::size_t bytes) { return fails() ? nullptr : counted(__libc_calloc(count, bytes)); }
void* realloc(void* at, std::size_t bytes) {
  if (fails()) return nullptr;
  void* moved = __libc_realloc(at, bytes);
  if (at == nullptr) counted(moved);
  return moved;
}
void* memalign(std::size_t alignment, std::size_t bytes) {
  return fails() ? nullptr : counted(__libc_memalign(alignment, bytes));
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) { return memalign(alignment, bytes); }
int posix_memalign(void** at, std::size_t alignment, std::size_t bytes) {
  *at = memalign(alignment, bytes);
  return *at == nullptr ? ENOMEM : 0;
}
void free(void* at) {
  if (at != nullptr) live.fetch_sub(1);
  __libc_free(at);
}

void* mmap(void* at, std::size_t bytes, int protection, int flags, int file, off_t offset) {
  static auto* const real = next<decltype(mmap)>("mmap");
  return fails() ? MAP_FAILED : real(at, bytes, protection, flags, file, offset);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*), void* argument) {
  static auto* const real = next<decltype(pthread_create)>("pthread_create");
  return fails() ? EAGAIN : real(thread, attributes, body, argument);
}
}

namespace tbb::detail::r1 {

void* __TBB_EXPORTED_FUNC allocate(d1::small_object_pool*& pool, std::size_t bytes) {
  static auto* const real =
      next<void*(d1::small_object_pool*&, std::size_t)>("_ZN3tbb6detail2r18allocateERPNS0_2d117small_object_poolEm");
  if (fails()) throw std::bad_alloc();
  return real(pool, bytes);
}
void* __TBB_EXPORTED_FUNC allocate(d1::small_object_pool*& pool, std::size_t bytes, const d1::execution_data& data) {
  static auto* const real = next<void*(d1::small_object_pool*&, std::size_t, const d1::execution_data&)>(
      "_ZN3tbb6detail2r18allocateERPNS0_2d117small_object_poolEmRKNS2_14execution_dataE");
  if (fails()) throw std::bad_alloc();
  return real(pool, bytes, data);
}

}  // namespace tbb::detail::r1

namespace ragdot::suites {

FailingMemory::FailingMemory(std::int64_t first, Which which) {
  seen = 0;
  failed = 0;
  fails_behind = which == Which::all_behind;
  first_failure = first;
}
FailingMemory::~FailingMemory() { first_failure = -1; }

bool FailingMemory::has_failed() { return failed.load() > 0; }
std::int64_t live_allocations() { return live.load(); }

}  // namespace ragdot::suites
