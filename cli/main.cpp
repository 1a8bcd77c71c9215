// The ragdot command: one verb for each thing a user wants to know or have done.
#include <fcntl.h>
#include <unistd.h>

#include <initializer_list>

#include "cli/command.hpp"

namespace {

/// A file that is opened later must not become a stdout that was closed: a descriptor that nothing can be written to takes its
/// place.
void hold_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) < 0) (void)::open("/dev/null", O_RDONLY);
  }
}

}  // namespace

int main(int argc, char** argv) {
  hold_standard_descriptors();
  return ragdot::cli::command(argc, argv);
}
