// Words for names that no kernel has.
#include "testing/kernels.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "testing/words.hpp"

namespace ragdot::testing {

Status check_kernel_name(const std::string& what, const std::string& name) {
  const std::vector<KernelInfo> kernels = list_kernels();
  std::vector<const char*> names;
  for (const KernelInfo& kernel : kernels) names.push_back(kernel.name.c_str());
  if (std::find(names.begin(), names.end(), name) != names.end()) return {};
  return {Code::invalid_argument,
          fmt::format("{} is unknown; did you mean {}? Known: {}", what, nearest(name, names), fmt::join(names, ", "))};
}

}  // namespace ragdot::testing
