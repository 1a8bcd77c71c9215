// Text for stdout.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

namespace ragdot::cli {

/// Writes to stdout. What cannot be written is lost and does not stop the verb, whose other outputs and exit code count;
/// command() looks at stdout_error() in the end.
void put_text(const std::string& text);
template <class... T>
void put(fmt::format_string<T...> format, T&&... values) {
  put_text(fmt::format(format, std::forward<T>(values)...));
}

/// Sends on what has been written.
void flush();

/// errno of the first text that could not be written or sent on, 0 while all could; clears it.
[[nodiscard]] int stdout_error();

}  // namespace ragdot::cli
