// What the fake of the device half was asked to launch.
#pragma once

#include <vector>

#include "cuda/launch.hpp"

namespace ragdot::cuda {

struct FakeCalls {
  std::vector<Product> products;
  std::vector<Quantize> quantizes;
  void* stream = nullptr;
  // What it answers.
  const char* refusal = nullptr;
  const char* driver = nullptr;
  const void* host_pointer = nullptr;
};

}  // namespace ragdot::cuda

/// Exported by the fake beside its table.
extern "C" ragdot::cuda::FakeCalls* ragdot_fake_calls();
