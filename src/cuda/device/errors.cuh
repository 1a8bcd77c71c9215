// What a refused call of the driver says.
#pragma once

#include <cuda_runtime.h>

namespace ragdot::cuda {

/// Null for a success, else the driver's words. Clears the thread's last error, or a later, innocent call would find it.
inline const char* sentence(cudaError_t error) {
  if (error == cudaSuccess) return nullptr;
  (void)cudaGetLastError();
  return cudaGetErrorString(error);
}

}  // namespace ragdot::cuda
