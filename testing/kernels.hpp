// Which kernels of this build take a call on this CPU.
#pragma once

#include <string>
#include <vector>

#include "ragdot/kernels.hpp"
#include "ragdot/plan.hpp"

namespace ragdot::testing {

/// Names of the usable kernels that take a call like `args`, best first; data is not read.
template <class Args>
[[nodiscard]] std::vector<std::string> kernels_for(const Args& args) {
  std::vector<std::string> names;
  for (const KernelInfo& kernel : list_kernels()) {
    Options options;
    options.kernel = kernel.name;
    if (kernel.usable && make_plan(args, options).ok()) names.push_back(kernel.name);
  }
  return names;
}

}  // namespace ragdot::testing
