// Reads the variables.
#include "plan/environment.hpp"

#include <cstdlib>

#include "format/never_destroyed.hpp"

namespace ragdot::plan {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Environment read() {
  const std::string verbose = variable("RAGDOT_VERBOSE");
  return {variable("RAGDOT_KERNEL"), !verbose.empty() && verbose.front() != '0', variable("RAGDOT_EXECUTOR") == "threads"};
}

}  // namespace

const Environment& environment() {
  static format::NeverDestroyed<Environment> read_once(read());
  return *read_once;
}

}  // namespace ragdot::plan
