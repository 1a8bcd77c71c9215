// One kernel of each family, for machine_code.py to look at: no machine with a GPU is needed for that.
#include "cuda/device/product.cuh"

using ragdot::Format;
using namespace ragdot::cuda;

#define RAGDOT_KERNEL(...)                                                   \
  template __global__ void ragdot::cuda::product_kernel<Shape<__VA_ARGS__>>( \
      const __grid_constant__ CUtensorMap, const __grid_constant__ CUtensorMap, const __grid_constant__ Parameters)

RAGDOT_KERNEL(Op::gmm, Format::e4m3, Format::e4m3, false, false, Format::bf16, 3);
RAGDOT_KERNEL(Op::gmm, Format::e5m2, Format::e4m3, false, false, Format::bf16, 2);
RAGDOT_KERNEL(Op::tgmm, Format::e4m3, Format::e4m3, false, false, Format::f32, 3);
RAGDOT_KERNEL(Op::gmm, Format::bf16, Format::bf16, false, true, Format::bf16, 2);
RAGDOT_KERNEL(Op::tgmm, Format::bf16, Format::bf16, true, true, Format::f32, 2);
