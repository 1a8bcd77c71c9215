// One random case on some kernels.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "testing/campaign.hpp"

namespace ragdot::testing {

struct Examined {
  std::map<std::string, Tally> tallies;  // by kernel
  std::string kernel;                    // the first whose result is wrong
  std::string failure;                   // about it, or why the case cannot be made; empty when all is well
  bool refused = false;                  // the failure is a refusal, not a wrong result
};

/// Every kernel of `kernels` that plans the call must give the right answers, and all the same bits.
[[nodiscard]] Examined examine(const RandomCase& random, const std::vector<std::string>& kernels, const Spoil& spoil = {});

}  // namespace ragdot::testing
