// What the table of the device half takes from the quantisers.
#pragma once

#include "cuda/launch.hpp"

namespace ragdot::cuda {

/// DeviceHalf::quantize.
const char* quantize(const Quantize& args, void* stream);

}  // namespace ragdot::cuda
