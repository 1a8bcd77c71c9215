// XLA's buffers as the library's views, and what a handler needs besides: groups, threads, errors.
#pragma once

#include <xla/ffi/api/ffi.h>

#include <cstdint>
#include <new>
#include <string>
#include <vector>

#include "jax/pool_executor.hpp"
#include "ragdot/ragdot.hpp"

namespace ragdot::jax {

namespace ffi = xla::ffi;

using Ints = ffi::Span<const std::int64_t>;

/// A matrix or a batch of matrices, dense; absent for a buffer of one axis, the form in which absent operands are passed.
[[nodiscard]] ConstView view_of(const ffi::AnyBuffer& buffer);
[[nodiscard]] View view_of(ffi::Result<ffi::AnyBuffer>& buffer);

/// Where blocks of rows start: at row 0, or at each group's first row; the scales then cover all groups or the local ones.
enum class Origin : std::int64_t { global = 0, per_group = 1, per_local_group = 2 };

/// A scale grid as an attribute: rows and columns that share a scale, and the origin.
struct Grid {
  std::int64_t block_rows;
  std::int64_t block_cols;
  Origin origin;
};
[[nodiscard]] Result<Grid> grid_of(Ints attribute);

/// Which groups the library sees: all, or the local ones.
enum class Scope { all, local };

/// The groups of a call, by int64 numbers of its own.
class CallGroups {
 public:
  /// sizes: int32 or int64 [G] over `rows` rows; offset: int32 [1], the first of `local` groups. Checks them, in the words of
  /// ragdot.jax.
  [[nodiscard]] Status read(const char* op, const ffi::AnyBuffer& sizes, const ffi::BufferR1<ffi::S32>& offset,
                            std::int64_t local, std::int64_t rows, Scope scope);

  [[nodiscard]] const Groups& groups() const { return groups_; }
  [[nodiscard]] std::int64_t first_group() const { return first_group_; }
  /// Rows of scales that a block of rows needs over all these groups.
  [[nodiscard]] std::int64_t scale_rows(std::int64_t block) const;

 private:
  [[nodiscard]] Status read_sizes(const char* op, const ffi::AnyBuffer& sizes, std::int64_t rows);

  std::vector<std::int64_t> sizes_;
  std::vector<std::int64_t> starts_;
  Groups groups_;
  std::int64_t first_group_ = 0;
};

/// XLA's pool, never with more threads than the machine has.
class Threads {
 public:
  explicit Threads(ffi::ThreadPool& pool);
  [[nodiscard]] Options options() {
    Options options;
    options.executor = &executor_;
    return options;
  }

 private:
  PoolExecutor<ffi::ThreadPool> executor_;
};

/// The library's answer as XLA's, with the same sentence.
[[nodiscard]] ffi::Error error_of(const Status& status);

/// The body of a handler: call() -> Status. Keeps exceptions from XLA.
template <class F>
[[nodiscard]] ffi::Error guarded(const char* op, F call) {
  try {
    return error_of(call());
  } catch (const std::bad_alloc&) {
    return {ffi::ErrorCode::kResourceExhausted, std::string(op) + ": no memory is left for its tables"};
  }
}

}  // namespace ragdot::jax
