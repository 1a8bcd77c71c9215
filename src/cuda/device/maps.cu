#include "cuda/device/maps.cuh"

#include <cuda_runtime.h>

#include "cuda/device/ptx.cuh"
#include "cuda/device/work.cuh"

namespace ragdot::cuda {
namespace {

/// The driver's function, found at run time so that the library loads where there is no driver.
auto encoder() {
  static const auto kFound = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
    return error == cudaSuccess && result == cudaDriverEntryPointSuccess
               ? reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(found)
               : nullptr;
  }();
  return kFound;
}

/// One block of a warp for each local group.
__global__ void group_maps(const __grid_constant__ OperandMaps a, const __grid_constant__ OperandMaps b, const Span* spans,
                           CUtensorMap* maps) {
  __shared__ alignas(128) unsigned words[2][32];
  const Span span = spans[blockIdx.x];
  if (span.begin == span.end) return;  // never multiplied, and an extent of a map is at least 1
  const auto of_copy = [&](const OperandMaps& maps_of) { return maps_of.copied && !begins_aligned(span.begin, maps_of.bytes); };
  const auto word = [&](const OperandMaps& maps_of) {
    return reinterpret_cast<const unsigned*>(of_copy(maps_of) ? &maps_of.copy : &maps_of.operand)[threadIdx.x];
  };
  words[0][threadIdx.x] = word(a);
  words[1][threadIdx.x] = word(b);
  __syncwarp();
  if (threadIdx.x < 2) {
    const OperandMaps& maps_of = threadIdx.x == 0 ? a : b;
    const std::uint32_t map = ptx::shared_address(words[threadIdx.x]);
    const std::int64_t start = of_copy(maps_of) ? copied_start(span.begin, span.matrix) : span.begin;
    const auto end = static_cast<std::uint32_t>(start + (span.end - span.begin));
    if (maps_of.end_axis == 0) {
      ptx::replace_extent<0>(map, end);
    } else {
      ptx::replace_extent<1>(map, end);
    }
  }
  __syncwarp();
  ptx::release_map(maps + 2 * span.matrix, ptx::shared_address(words[0]));
  ptx::release_map(maps + 2 * span.matrix + 1, ptx::shared_address(words[1]));
}

}  // namespace

const char* encode_map(CUtensorMap& map, const Lines& lines, int box_length, int box_lines) {
  if (lines.length == 0 || lines.lines == 0) return nullptr;  // nothing will be read, and a map has no empty extents
  const auto encode = encoder();
  if (encode == nullptr) return "the driver has no tensor maps; a driver of CUDA 12.0 or newer is needed";
  const bool bytes = lines.format != Format::bf16;
  const cuuint64_t extents[3] = {static_cast<cuuint64_t>(lines.length), static_cast<cuuint64_t>(lines.lines),
                                 static_cast<cuuint64_t>(lines.batch)};
  const cuuint64_t pitches[2] = {static_cast<cuuint64_t>(lines.pitch_bytes),
                                 static_cast<cuuint64_t>(lines.batch > 1 ? lines.batch_pitch_bytes : lines.pitch_bytes)};
  const cuuint32_t box[3] = {static_cast<cuuint32_t>(box_length), static_cast<cuuint32_t>(box_lines), 1};
  const cuuint32_t steps[3] = {1, 1, 1};
  const CUresult result =
      encode(&map, bytes ? CU_TENSOR_MAP_DATA_TYPE_UINT8 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(lines.data),
             extents, pitches, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS
             ? nullptr
             : "the driver refused a tensor map; give operands in device memory, lines a multiple of 16 bytes apart";
}

cudaError_t make_group_maps(const OperandMaps& a, const OperandMaps& b, const Span* spans, int local, CUtensorMap* maps,
                            cudaStream_t stream) {
  group_maps<<<static_cast<unsigned>(local), 32, 0, stream>>>(a, b, spans, maps);
  return cudaGetLastError();
}

}  // namespace ragdot::cuda
