// Opens the device half, libragdot_cuda.so, at run time: a host without a GPU needs neither it nor CUDA.
#pragma once

#include <string>

#include "cuda/launch.hpp"

namespace ragdot::cuda {

inline constexpr char kDeviceHalfFile[] = "libragdot_cuda.so";
inline constexpr char kDeviceHalfFunction[] = "ragdot_cuda_device_half";

/// The table of an opened library, or why there is none and what to do.
struct OpenedHalf {
  const DeviceHalf* table = nullptr;
  std::string why;
};

/// Opens a file (with a slash) or what the loader finds by name. What is opened stays open.
[[nodiscard]] OpenedHalf open_device_half(const std::string& file);

/// The file beside the library or program that holds this code; where there is none, what the loader finds by name. Opened by
/// the first call, for the process.
[[nodiscard]] const OpenedHalf& device_half();

/// Empty when the device half is there and the current device can run it, else why not. Costs a question to the driver.
[[nodiscard]] std::string refusal(const OpenedHalf& half);

}  // namespace ragdot::cuda
