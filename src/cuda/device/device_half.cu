// What libragdot_cuda.so exports: one function that gives the table of launch.hpp.
#include <cuda_runtime.h>

#include "cuda/device/errors.cuh"
#include "cuda/device/product.hpp"
#include "cuda/device/quantize.hpp"

namespace ragdot::cuda {
namespace {

const char* refusal() {
  int devices = 0;
  const cudaError_t counted = cudaGetDeviceCount(&devices);
  const bool none = counted == cudaSuccess && devices == 0;
  if (none || counted == cudaErrorInsufficientDriver || counted == cudaErrorNoDevice) {
    cudaGetLastError();  // or a later call would find it
    return "there is no NVIDIA driver as new as the CUDA of this build, or no GPU; run on a machine with one, or call the "
           "CPU's functions";
  }
  if (counted != cudaSuccess) return sentence(counted);  // of an earlier kernel that failed, or in the child of a fork
  int device = 0;
  int major = 0;
  int minor = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    cudaGetLastError();
    return "the current GPU does not say what it can do; choose another with cudaSetDevice";
  }
  return major == 9 && minor == 0
             ? nullptr
             : "the kernels are machine code for Hopper (compute capability 9.0: H100, H200); the current GPU is "
               "another; choose a Hopper with cudaSetDevice, or call the CPU's functions";
}

const char* product(const Product& product, void* stream) {
  auto* on = static_cast<cudaStream_t>(stream);
  if (product.a.format == Format::bf16) return product.op == Op::gmm ? gmm_bf16(product, on) : tgmm_bf16(product, on);
  return product.op == Op::gmm ? gmm_8_bit(product, on) : tgmm_8_bit(product, on);
}

const char* not_device_pointer(const void* address) {
  cudaPointerAttributes attributes{};
  const cudaError_t asked = cudaPointerGetAttributes(&attributes, address);
  if (asked == cudaErrorInvalidValue) {
    cudaGetLastError();
    return "an address that the driver does not know";
  }
  // Another error is not the address's: an earlier kernel failed, which the launch will say.
  if (asked != cudaSuccess || attributes.devicePointer != nullptr) return nullptr;
  return "memory of the host, which the GPU cannot reach";
}

}  // namespace
}  // namespace ragdot::cuda

extern "C" __attribute__((visibility("default"))) const ragdot::cuda::DeviceHalf* ragdot_cuda_device_half() {
  using namespace ragdot::cuda;
  static const DeviceHalf kHalf = {kInterface, refusal, product, quantize, not_device_pointer};
  return &kHalf;
}
