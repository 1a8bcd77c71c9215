// Device memory and the end of a program that a call of the driver or of the library failed.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <vector>

inline void must(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

inline void must(const char* refusal) {
  if (refusal == nullptr) return;
  std::printf("quantize: %s\n", refusal);
  std::exit(1);
}

/// Device memory that starts `offset` bytes behind an aligned address.
class DeviceBytes {
 public:
  explicit DeviceBytes(std::size_t bytes, std::size_t offset = 0) : bytes_(bytes), offset_(offset) {
    must(cudaMalloc(&memory_, bytes + offset + 16), "cudaMalloc");
  }
  DeviceBytes(const std::vector<std::byte>& from, std::size_t offset) : DeviceBytes(from.size(), offset) {
    if (!from.empty()) must(cudaMemcpy(data(), from.data(), from.size(), cudaMemcpyHostToDevice), "copy to the device");
  }
  ~DeviceBytes() { cudaFree(memory_); }
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;

  [[nodiscard]] char* data() const { return static_cast<char*>(memory_) + offset_; }
  [[nodiscard]] std::vector<std::byte> read() const {
    std::vector<std::byte> to(bytes_);
    if (bytes_ > 0) must(cudaMemcpy(to.data(), data(), bytes_, cudaMemcpyDeviceToHost), "copy to the host");
    return to;
  }

 private:
  void* memory_ = nullptr;
  std::size_t bytes_;
  std::size_t offset_;
};
