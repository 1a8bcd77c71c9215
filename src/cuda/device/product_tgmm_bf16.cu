#include "cuda/device/formats.cuh"
#include "cuda/device/product.hpp"

namespace ragdot::cuda {

const char* tgmm_bf16(const Product& product, cudaStream_t stream) {
  constexpr Format kBf16 = Format::bf16;
  if (product.a_across && product.b_across) return launch_out<Op::tgmm, kBf16, kBf16, true, true>(product, stream);
  if (product.a_across) return launch_out<Op::tgmm, kBf16, kBf16, true, false>(product, stream);
  if (product.b_across) return launch_out<Op::tgmm, kBf16, kBf16, false, true>(product, stream);
  return launch_out<Op::tgmm, kBf16, kBf16, false, false>(product, stream);
}

}  // namespace ragdot::cuda
