// Stays the C++17 that it is: the target asks for no other.
#include <ragdot/ragdot.h>

#include <string>

static_assert(__cplusplus == 201703L);

int main() {
  const std::string version = std::to_string(RAGDOT_VERSION_MAJOR) + "." + std::to_string(RAGDOT_VERSION_MINOR) + "." +
                              std::to_string(RAGDOT_VERSION_PATCH);
  return version == ragdot_version() ? 0 : 1;
}
