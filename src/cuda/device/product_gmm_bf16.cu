#include "cuda/device/formats.cuh"
#include "cuda/device/product.hpp"

namespace ragdot::cuda {

const char* gmm_bf16(const Product& product, cudaStream_t stream) {
  constexpr Format kBf16 = Format::bf16;
  if (product.b_across) return launch_out<Op::gmm, kBf16, kBf16, false, true>(product, stream);
  return launch_out<Op::gmm, kBf16, kBf16, false, false>(product, stream);
}

}  // namespace ragdot::cuda
