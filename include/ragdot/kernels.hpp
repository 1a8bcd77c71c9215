// Which kernels there are, which this CPU can run, and how to force one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ragdot/status.hpp"

namespace ragdot {

struct KernelInfo {
  std::string name;
  bool usable = false;
  std::string reason;  // empty when usable
};

/// All kernels of this build, best first: the order in which a plan tries them. May throw std::bad_alloc.
[[nodiscard]] std::vector<KernelInfo> list_kernels();

/// Every later plan of the process takes this kernel; "" ends that. Refuses an unknown or unusable name with the list.
/// The environment variable RAGDOT_KERNEL does the same, Options::kernel comes before both. Quantisers follow where they have
/// loops of the kernel's name ("avx512", "avx2", "portable").
[[nodiscard]] Status force_kernel(std::string_view name);

/// "0.1.0"
[[nodiscard]] const char* version();

}  // namespace ragdot
