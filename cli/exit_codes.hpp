// What the command's exit status says.
#pragma once

#include "ragdot/status.hpp"

namespace ragdot::cli {

inline constexpr int kOk = 0;
inline constexpr int kCheckFailed = 1;
inline constexpr int kUsage = 2;        // wrong words, unusable files
inline constexpr int kNotPossible = 3;  // not offered, or not on this machine

[[nodiscard]] inline int exit_code_of(Code code) {
  return code == Code::ok ? kOk : code == Code::invalid_argument ? kUsage : kNotPossible;
}

}  // namespace ragdot::cli
