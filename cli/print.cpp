// Keeps why stdout took no more: stdio's own flag does not tell.
#include "cli/print.hpp"

#include <cerrno>
#include <cstdio>
#include <utility>

namespace ragdot::cli {
namespace {

int first_error = 0;

void keep_error(bool went_out) {
  if (!went_out && first_error == 0) first_error = errno == 0 ? EIO : errno;
}

}  // namespace

void put_text(const std::string& text) {
  errno = 0;
  keep_error(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
}

void flush() {
  errno = 0;
  keep_error(std::fflush(stdout) == 0);
}

int stdout_error() { return std::exchange(first_error, 0); }

}  // namespace ragdot::cli
