// What the command's exit status says.
#pragma once

namespace ragdot::cli {

inline constexpr int kOk = 0;
inline constexpr int kCheckFailed = 1;
inline constexpr int kUsage = 2;        // wrong words, unusable files
inline constexpr int kNotPossible = 3;  // not on this machine

}  // namespace ragdot::cli
