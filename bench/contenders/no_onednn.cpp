// Stands in for onednn.cpp where oneDNN's headers were not found.
#include "bench/contenders/contender.hpp"

namespace ragdot::bench {

// NOLINTNEXTLINE(performance-unnecessary-value-param): the signature is that of onednn.cpp, which keeps the case
MadeContender make_onednn(const testing::Problem& /*how*/, std::shared_ptr<const testing::Case> /*c*/,
                          const Weights& /*weights*/) {
  return Status(
      Code::unsupported,
      "this build has no oneDNN; install libdnnl-dev and configure again, a wheel with -C cmake.define.RAGDOT_ONEDNN=ON");
}

std::string onednn_version() { return ""; }

}  // namespace ragdot::bench
