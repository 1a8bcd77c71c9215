// The families of kernels, one source each so that they compile side by side.
#pragma once

#include <cuda_runtime.h>

#include "cuda/launch.hpp"

namespace ragdot::cuda {

/// Each enqueues a product of its family and returns null, or what the driver refused.
const char* gmm_8_bit(const Product& product, cudaStream_t stream);
const char* tgmm_8_bit(const Product& product, cudaStream_t stream);
const char* gmm_bf16(const Product& product, cudaStream_t stream);
const char* tgmm_bf16(const Product& product, cudaStream_t stream);

}  // namespace ragdot::cuda
