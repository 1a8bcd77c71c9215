// How the library says no: a code and one sentence that names the operand, the values given, what is needed and the way out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

// Strings and vectors pass between program and library, as these have them.
#if defined(__GLIBCXX__) && (defined(_GLIBCXX_DEBUG) || !_GLIBCXX_USE_CXX11_ABI)
#error \
    "ragdot: its C++ interface is built with the new strings of libstdc++ and no debug containers; set _GLIBCXX_USE_CXX11_ABI=1 and no _GLIBCXX_DEBUG, or use ragdot.h"
#endif

namespace ragdot {

enum class Code : std::int32_t {
  ok = 0,
  invalid_argument = 1,  // the call breaks a rule; the message says which and what to change
  unsupported = 2,       // meaningful, but not offered here (a format pair, a kernel this CPU cannot run)
  out_of_memory = 3,     // an allocation failed; nothing was written, unless an executor threw (execution.hpp)
};

/// Result of a call that can be refused. A refused call has written nothing.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  [[nodiscard]] bool ok() const { return code_ == Code::ok; }
  [[nodiscard]] Code code() const { return code_; }
  [[nodiscard]] const std::string& message() const { return message_; }

 private:
  Code code_ = Code::ok;
  std::string message_;
};

/// A value, or the Status that explains why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor)
  /// A status that is ok explains nothing: it becomes an error that says so.
  Result(Status status)  // NOLINT(google-explicit-constructor)
      : status_(status.ok()
                    ? Status(Code::invalid_argument, "a Result was made of a Status that is ok; give it a value or an error")
                    : std::move(status)) {}

  [[nodiscard]] bool ok() const { return value_.has_value(); }
  [[nodiscard]] const Status& status() const { return status_; }
  /// Only after ok().
  [[nodiscard]] T& value() { return *value_; }
  [[nodiscard]] const T& value() const { return *value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace ragdot
