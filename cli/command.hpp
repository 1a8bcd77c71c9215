// The whole command: words in, exit code out.
#pragma once

namespace ragdot::cli {

/// Runs the verb that the words name. No exception leaves it, and a stdout that could not be written is no success.
[[nodiscard]] int command(int argc, const char* const* argv);

}  // namespace ragdot::cli
