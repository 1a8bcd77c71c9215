// One memory file mapped twice: for the test, and between inaccessible pages for the library.
#include "tests/promises/guarded.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <stdexcept>

namespace ragdot::suites {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::byte kCanary{0xa5};

std::byte* checked(void* mapped) {
  if (mapped == MAP_FAILED) throw std::runtime_error("mmap failed; free memory or raise vm.max_map_count");
  return static_cast<std::byte*>(mapped);
}

/// Canaries are looked at this far from the data.
constexpr std::size_t kBeside = kPage;

std::array<char, 512> fault_text;

extern "C" void on_fault(int signal) {
  const char intro[] = "a call touched memory that it may not: ";
  if (write(STDERR_FILENO, intro, sizeof intro - 1) < 0 ||
      write(STDERR_FILENO, fault_text.data(), strlen(fault_text.data())) < 0 || write(STDERR_FILENO, "\n", 1) < 0) {
    _exit(1);
  }
  std::signal(signal, SIG_DFL);
  raise(signal);
}

}  // namespace

Guarded::Guarded(std::size_t most_bytes, Access access) : bytes_((most_bytes / kPage + 1) * kPage) {
  const int file = memfd_create("guarded", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, static_cast<off_t>(bytes_)) != 0) throw std::runtime_error("memfd_create failed");
  own_ = checked(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
  seen_ = checked(mmap(nullptr, bytes_ + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) + kPage;
  const int may = access == Access::read ? PROT_READ : PROT_READ | PROT_WRITE;
  checked(mmap(seen_, bytes_, may, MAP_SHARED | MAP_FIXED, file, 0));
  close(file);
}

Guarded::~Guarded() {
  munmap(own_, bytes_);
  munmap(seen_ - kPage, bytes_ + 2 * kPage);
}

std::byte* Guarded::place(std::size_t bytes, Edge edge) {
  if (bytes > bytes_) throw std::length_error("guarded memory is too small; ask for more in its constructor");
  used_ = bytes;
  offset_ = edge == Edge::front ? 0 : bytes_ - bytes;
  const std::size_t begin = offset_ - std::min(offset_, kBeside);
  const std::size_t end = std::min(offset_ + bytes + kBeside, bytes_);
  std::memset(own_ + begin, static_cast<int>(kCanary), end - begin);
  return own_ + offset_;
}

void Guarded::expect_canaries(const std::string& what) const {
  const auto changed = [](std::byte b) { return b != kCanary; };
  const std::byte* begin = own_ + offset_;
  const std::byte* end = begin + used_;
  EXPECT_TRUE(std::none_of(begin - std::min(offset_, kBeside), begin, changed))
      << what << ": a byte before the data was written";
  EXPECT_TRUE(std::none_of(end, end + std::min(bytes_ - offset_ - used_, kBeside), changed))
      << what << ": a byte behind the data was written";
}

void say_on_fault(const std::string& what) {
  const std::size_t count = std::min(what.size(), fault_text.size() - 1);
  std::memcpy(fault_text.data(), what.data(), count);
  fault_text[count] = '\0';
  std::signal(SIGSEGV, on_fault);
}

}  // namespace ragdot::suites
