// What would end or change this process runs in a child.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

namespace ragdot::suites {

/// Runs `body` in a child that is ended after so many seconds, since a call may hang. How it ended: what `body` gives, 0 or
/// more, or less than 0 for a signal.
template <class Body>
[[nodiscard]] int in_child(unsigned seconds, const Body& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(seconds);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace ragdot::suites
