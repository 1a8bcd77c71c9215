#include "cuda/device/formats.cuh"
#include "cuda/device/product.hpp"

namespace ragdot::cuda {

const char* tgmm_8_bit(const Product& product, cudaStream_t stream) { return launch_8_bit<Op::tgmm>(product, stream); }

}  // namespace ragdot::cuda
