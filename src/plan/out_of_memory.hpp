// The end of a call whose allocation failed: a Status, not an exception.
#pragma once

#include <fmt/format.h>

#include <new>

#include "ragdot/status.hpp"

namespace ragdot::plan {

/// "op: sentence", or two words that std::string holds without an allocation where there is no memory for more.
[[nodiscard]] inline Status out_of_memory(const char* op, const char* sentence) noexcept {
  try {
    return {Code::out_of_memory, fmt::format("{}: {}", op, sentence)};
  } catch (const std::bad_alloc&) {
    return {Code::out_of_memory, "out of memory"};
  }
}

/// Runs the body of a call, which gives a Status or a Result. `sentence` says what could not be allocated and the way out.
template <class Call>
[[nodiscard]] auto catching(const char* op, const char* sentence, Call call) -> decltype(call()) {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return out_of_memory(op, sentence);
  }
}

}  // namespace ragdot::plan
