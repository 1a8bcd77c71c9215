// Names of kernels: which take a call on this CPU, and whether there is one of a name.
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

/// Refuses a name that no kernel of this build has, with the nearest of those that there are. `what` begins the sentence.
[[nodiscard]] Status check_kernel_name(const std::string& what, const std::string& name);

}  // namespace ragdot::testing
