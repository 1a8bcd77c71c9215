// What the library takes from the environment of its process.
#pragma once

#include <string>

namespace ragdot::plan {

struct Environment {
  std::string kernel;          // RAGDOT_KERNEL: forced where nothing else is; "" for none
  bool verbose = false;        // RAGDOT_VERBOSE: plans print themselves
  bool plain_threads = false;  // RAGDOT_EXECUTOR=threads
};

/// As it was at the first call of all, when it is read: getenv must not run beside another thread's setenv.
[[nodiscard]] const Environment& environment();

}  // namespace ragdot::plan
