// The device half by dlopen. RTLD_LOCAL: its CUDA runtime meets no other of the process.
#include "cuda/device_half.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include "format/never_destroyed.hpp"

namespace ragdot::cuda {
namespace {

const char* loader_error() {
  const char* error = dlerror();
  return error == nullptr ? "no reason given" : error;
}

/// The path of the device half in the folder of this code; empty where the loader does not know the folder.
std::string path_beside() {
  static const char kHere = 0;
  Dl_info info{};
  if (dladdr(&kHere, &info) == 0 || info.dli_fname == nullptr) return "";
  const std::string self = info.dli_fname;
  const std::size_t slash = self.rfind('/');
  return slash == std::string::npos ? "" : self.substr(0, slash + 1) + kDeviceHalfFile;
}

}  // namespace

OpenedHalf open_device_half(const std::string& file) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return {nullptr, fmt::format("{} cannot be opened ({}); install it beside libragdot.so, from a build that found nvcc",
                                 kDeviceHalfFile, loader_error())};
  }
  const auto function = reinterpret_cast<DeviceHalfFunction>(dlsym(library, kDeviceHalfFunction));
  if (function == nullptr) {
    return {nullptr, fmt::format("{} has no {}; install the one of this build of libragdot", file, kDeviceHalfFunction)};
  }
  const DeviceHalf* table = function();
  if (table == nullptr || table->interface != kInterface) {
    return {nullptr, fmt::format("{} has interface {} and libragdot has {}; install both from one build", file,
                                 table == nullptr ? 0 : table->interface, kInterface)};
  }
  return {table, ""};
}

const OpenedHalf& device_half() {
  static format::NeverDestroyed<OpenedHalf> half([] {
    const std::string beside = path_beside();
    const bool is_there = !beside.empty() && access(beside.c_str(), F_OK) == 0;
    return open_device_half(is_there ? beside : kDeviceHalfFile);
  }());
  return *half;
}

std::string refusal(const OpenedHalf& half) {
  if (half.table == nullptr) return half.why;
  const char* why = half.table->refusal();
  return why == nullptr ? "" : why;
}

}  // namespace ragdot::cuda
