// Memory that ends where the data ends: pages behind and before it may not be touched.
#pragma once

#include <cstddef>
#include <string>

namespace ragdot::suites {

/// Which inaccessible page the data lies at.
enum class Edge { front, back };
/// What the library may do to the memory.
enum class Access { read, write };

/// Pages between two inaccessible ones, used again for one call after the other. The test writes them through a mapping of its
/// own, so that the library's can be read-only.
class Guarded {
 public:
  Guarded(std::size_t most_bytes, Access access);
  ~Guarded();
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  /// Room for `bytes`, at most those of the constructor, at an edge; what lies beside them is canaries. The address is the
  /// test's.
  std::byte* place(std::size_t bytes, Edge edge);
  /// The address of the same bytes for the library.
  [[nodiscard]] std::byte* data() const { return seen_ + offset_; }
  [[nodiscard]] const std::byte* written() const { return own_ + offset_; }
  /// Fails the test where a canary has changed.
  void expect_canaries(const std::string& what) const;

 private:
  std::size_t bytes_ = 0;  // of all pages that may be touched
  std::byte* own_ = nullptr;
  std::byte* seen_ = nullptr;
  std::size_t offset_ = 0;  // of the data
  std::size_t used_ = 0;    // bytes of the data
};

/// What a fault prints before it ends the program, for the test that is running.
void say_on_fault(const std::string& what);

}  // namespace ragdot::suites
