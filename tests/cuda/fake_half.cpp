// A device half without a device: it writes down what it is given.
#include "tests/cuda/fake_half.hpp"

#ifndef RAGDOT_FAKE_INTERFACE
#define RAGDOT_FAKE_INTERFACE ::ragdot::cuda::kInterface
#endif

namespace {

using ragdot::cuda::DeviceHalf;
using ragdot::cuda::FakeCalls;
using ragdot::cuda::Product;
using ragdot::cuda::Quantize;

FakeCalls calls;

const char* refusal() { return calls.refusal; }
const char* product(const Product& product, void* stream) {
  calls.products.push_back(product);
  calls.stream = stream;
  return calls.driver;
}
const char* quantize(const Quantize& quantize, void* stream) {
  calls.quantizes.push_back(quantize);
  calls.stream = stream;
  return calls.driver;
}
const char* not_device_pointer(const void* address) {
  return address == calls.host_pointer ? "memory of the host, which the device cannot read" : nullptr;
}

constexpr DeviceHalf kTable = {RAGDOT_FAKE_INTERFACE, refusal, product, quantize, not_device_pointer};

}  // namespace

extern "C" const DeviceHalf* ragdot_cuda_device_half() { return &kTable; }
extern "C" FakeCalls* ragdot_fake_calls() { return &calls; }
