// From the formats of a Product to an instantiation.
#pragma once

#include "cuda/device/launch_product.cuh"

namespace ragdot::cuda {

template <Op kOp, Format kA, Format kB, bool kAcrossA, bool kAcrossB>
const char* launch_out(const Product& product, cudaStream_t stream) {
  if (product.out_format == Format::f32) return launch<Shape<kOp, kA, kB, kAcrossA, kAcrossB, Format::f32>>(product, stream);
  return launch<Shape<kOp, kA, kB, kAcrossA, kAcrossB, Format::bf16>>(product, stream);
}

template <Op kOp>
const char* launch_8_bit(const Product& product, cudaStream_t stream) {
  const bool a_e4m3 = product.a.format == Format::e4m3;
  const bool b_e4m3 = product.b.format == Format::e4m3;
  if (a_e4m3 && b_e4m3) return launch_out<kOp, Format::e4m3, Format::e4m3, false, false>(product, stream);
  if (a_e4m3) return launch_out<kOp, Format::e4m3, Format::e5m2, false, false>(product, stream);
  if (b_e4m3) return launch_out<kOp, Format::e5m2, Format::e4m3, false, false>(product, stream);
  return launch_out<kOp, Format::e5m2, Format::e5m2, false, false>(product, stream);
}

}  // namespace ragdot::cuda
