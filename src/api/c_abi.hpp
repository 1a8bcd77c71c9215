// What the functions of the C interface share: the border that no exception passes, struct sizes, and from C structs to C++
// ones.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include "ragdot/ragdot.h"
#include "ragdot/ragdot.hpp"

/// Handles of the C interface. Their texts live as long as they do.
struct ragdot_packed_rhs {
  ragdot::PackedRhs packed;
  std::string description;
};

namespace ragdot::c_abi {

/// Keeps the sentence for ragdot_last_error unless the status is ok; returns the code as the C interface has it.
int report(const Status& status) noexcept;
/// The same for what an exception said.
int report_failure(const char* function, const char* what) noexcept;
/// The same for an allocation that failed.
int report_no_memory() noexcept;

/// Runs the body of a C function: whatever is thrown in it ends here as a code and a sentence.
template <class Body>
int guarded(const char* function, Body body) noexcept {
  try {
    return report(body());
  } catch (const std::bad_alloc&) {
    return report_no_memory();
  } catch (const std::exception& e) {
    return report_failure(function, e.what());
  } catch (...) {
    return report_failure(function, "an exception without a text");
  }
}

/// A caller's struct: the function and the argument that its refusal names, its C type.
struct StructName {
  const char* function;
  const char* argument;
  const char* type;
};
/// Bytes of a struct in the first header that had it; one that grows later gets a specialisation with what it had then.
template <class T>
inline constexpr std::size_t kFirstBytes = sizeof(T);

/// Refuses a struct that is null, has a size that no header gave it, or is of a newer header.
[[nodiscard]] Status check_struct(const StructName& name, const void* given, std::size_t first_bytes, std::size_t known_bytes);

template <class T>
[[nodiscard]] Status check_struct(const StructName& name, const T* given) {
  return check_struct(name, given, kFirstBytes<T>, sizeof(T));
}

/// Copies a caller's struct of this or an older header into `full`; fields that it lacks are zero.
template <class T>
[[nodiscard]] Status read_struct(const StructName& name, const T* given, T& full) {
  if (Status s = check_struct(name, given); !s.ok()) return s;
  full = T{};
  std::size_t bytes = 0;
  std::memcpy(&bytes, given, sizeof bytes);
  std::memcpy(&full, given, bytes);
  return {};
}

/// The caller's executor.
class CallbackExecutor final : public Executor {
 public:
  /// `options` has run and concurrency.
  explicit CallbackExecutor(const ragdot_options& options)
      : run_(options.run), concurrency_(options.concurrency), context_(options.executor_context) {}

  void run(int tasks, void (*task)(void*, int), void* task_context) override { run_(context_, tasks, task, task_context); }
  [[nodiscard]] int concurrency() const override { return std::max(concurrency_(context_), 1); }

 private:
  ragdot_run_tasks run_;
  std::int32_t (*concurrency_)(void* context);
  void* context_;
};

/// Options and the executor they point to.
struct ReadOptions {
  Options options;
  std::unique_ptr<CallbackExecutor> executor;
};
/// null: the defaults.
[[nodiscard]] Status read_options(const char* function, const ragdot_options* given, ReadOptions& out);

[[nodiscard]] View view_of(const ragdot_view& v);
[[nodiscard]] ConstView view_of(const ragdot_const_view& v);
[[nodiscard]] Operand operand_of(const ragdot_operand& o);
[[nodiscard]] Groups groups_of(const ragdot_groups& g);
[[nodiscard]] std::optional<Groups> groups_of(const ragdot_groups* g);
[[nodiscard]] Status read_args(const char* function, const ragdot_gmm_args* given, GmmArgs& out);
[[nodiscard]] Status read_args(const char* function, const ragdot_tgmm_args* given, TgmmArgs& out);
[[nodiscard]] Status read_args(const char* function, const ragdot_quantize_args* given, QuantizeArgs& out);
[[nodiscard]] Status read_args(const char* function, const ragdot_quantize_both_args* given, QuantizeBothArgs& out);
[[nodiscard]] Status read_args(const char* function, const ragdot_requantize_args* given, RequantizeArgs& out);
[[nodiscard]] Status read_args(const char* function, const ragdot_dequantize_args* given, DequantizeArgs& out);

}  // namespace ragdot::c_abi
