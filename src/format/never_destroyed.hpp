// Static objects that outlive every thread: a call may come while the process ends, when static objects are destroyed.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

namespace ragdot::format {

/// An object without end, in memory of its own: `static NeverDestroyed<T> object;` allocates nothing but what T does.
template <class T>
class NeverDestroyed {
 public:
  template <class... Args>
  explicit NeverDestroyed(Args&&... args) : object_(*::new(static_cast<void*>(memory_)) T(std::forward<Args>(args)...)) {}
  NeverDestroyed(const NeverDestroyed&) = delete;
  NeverDestroyed& operator=(const NeverDestroyed&) = delete;

  T& operator*() { return object_; }

 private:
  alignas(T) std::byte memory_[sizeof(T)];
  T& object_;
};

}  // namespace ragdot::format
