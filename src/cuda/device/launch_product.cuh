// From a Product to launches: maps, spans, and the instantiation that fits. Included by one source for each family of shapes.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <tuple>

#include "cuda/device/copies.cuh"
#include "cuda/device/errors.cuh"
#include "cuda/device/groups.cuh"
#include "cuda/device/maps.cuh"
#include "cuda/device/product.cuh"

namespace ragdot::cuda {

/// How many clusters run at one time. Not half the number of multiprocessors: a part of the chip with an odd number of them
/// leaves one over, and a cluster that had to wait for all others to end would double the time.
template <class S>
cudaError_t most_clusters(int& clusters) {
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  cudaError_t error = cudaFuncSetAttribute(product_kernel<S>, cudaFuncAttributeMaxDynamicSharedMemorySize, S::kSharedBytes);
  if (error != cudaSuccess) return error;  // it belongs to the context, so it is set each time
  static std::atomic<int> known[64];       // by device, 0: not asked yet
  std::atomic<int>& here = known[device % 64];
  clusters = here.load(std::memory_order_relaxed);
  if (clusters != 0) return cudaSuccess;
  cudaLaunchConfig_t config{};
  config.gridDim = kClusterBlocks;
  config.blockDim = S::kThreads;
  config.dynamicSmemBytes = S::kSharedBytes;
  error = cudaOccupancyMaxActiveClusters(&clusters, product_kernel<S>, &config);
  if (error == cudaSuccess && clusters == 0) error = cudaErrorLaunchOutOfResources;
  if (error == cudaSuccess) here.store(clusters, std::memory_order_relaxed);
  return error;
}

/// Maps of an operand and, where there is one, of its copy. Returns null, or what the driver refused.
template <bool kAcross>
const char* fill(OperandMaps& maps, const Product& product, const Lines& lines, bool copied, std::int64_t copy_offset,
                 int box_lines) {
  maps.end_axis = kAcross ? 1 : 0;
  maps.bytes = static_cast<int>(element_bytes(lines.format));
  maps.copied = copied;
  const int box_length = kLineBytes / maps.bytes;
  if (copied) {
    Lines copy = lines;
    copy.data = static_cast<std::byte*>(product.workspace) + copy_offset;
    copy.length = copy_pitch(product);
    copy.pitch_bytes = copy.length * maps.bytes;
    if (const char* why = encode_map(maps.copy, copy, box_length, box_lines); why != nullptr) return why;
  }
  return encode_map(maps.operand, lines, box_length, box_lines);
}

template <class S>
const char* launch(const Product& product, cudaStream_t stream) {
  auto* workspace = static_cast<std::byte*>(product.workspace);
  Parameters p{};
  p.head = reinterpret_cast<const WorkspaceHead*>(workspace);
  p.spans = reinterpret_cast<const Span*>(workspace + kSpansOffset);
  auto* maps = reinterpret_cast<CUtensorMap*>(workspace + maps_offset(product.op, product.groups.local));
  p.maps = maps;
  p.k = static_cast<int>(product.k);
  p.n = static_cast<int>(product.n);
  p.pairs = ceil_div(p.n, S::kCols * kClusterBlocks);
  p.a_scales = product.a_scales;
  p.b_scales = product.b_scales;
  p.out = product.out;
  p.out_pitch = product.out_pitch;
  p.out_batch_pitch = product.out_batch_pitch;
  p.accumulate = product.accumulate;
  p.copied = !product.starts_aligned;
  constexpr std::int64_t kAtOnce = S::kOut == Format::f32 ? 4 : 8;
  p.aligned_rows = reinterpret_cast<std::uintptr_t>(product.out) % 16 == 0 && product.out_pitch % kAtOnce == 0 &&
                   product.out_batch_pitch % kAtOnce == 0;

  OperandMaps a{};
  OperandMaps b{};
  if (const char* why = fill<S::kAcrossA>(a, product, product.a, copies_a(product), copy_a_offset(product),
                                          S::kAcrossA ? 64 : S::kRowsFetched);
      why != nullptr)
    return why;
  if (const char* why =
          fill<S::kAcrossB>(b, product, product.b, copies_b(product), copy_b_offset(product), S::kAcrossB ? 64 : S::kCols);
      why != nullptr)
    return why;

  SpanRules rules;
  rules.rows = product.m;
  if constexpr (S::kOp == Op::gmm) {
    rules.outside = product.zero_outside;
    rules.tile_rows = S::kRows;
    rules.tiles = p.pairs;
  } else {
    rules.keep_empty = true;
    rules.tiles = ceil_div(p.k, S::kRows) * p.pairs;
  }
  if (const cudaError_t error = find_spans(product.groups, rules, product.workspace, stream); error != cudaSuccess)
    return sentence(error);
  if constexpr (S::kOp == Op::tgmm) {
    const int local = product.groups.local;
    for (const auto& [maps_of, lines, offset] :
         {std::tuple{&a, &product.a, copy_a_offset(product)}, std::tuple{&b, &product.b, copy_b_offset(product)}}) {
      if (!maps_of->copied) continue;
      const cudaError_t error = copy_unaligned_groups(*lines, p.spans, local, workspace + offset, copy_pitch(product),
                                                      product.multiprocessors, stream);
      if (error != cudaSuccess) return sentence(error);
    }
    if (const cudaError_t error = make_group_maps(a, b, p.spans, local, maps, stream); error != cudaSuccess)
      return sentence(error);
  }

  int clusters = 0;
  if (const cudaError_t error = most_clusters<S>(clusters); error != cudaSuccess) return sentence(error);
  if (product.multiprocessors > 0) clusters = std::min(clusters, std::max(product.multiprocessors / kClusterBlocks, 1));
  product_kernel<S>
      <<<static_cast<unsigned>(clusters * kClusterBlocks), S::kThreads, S::kSharedBytes, stream>>>(a.operand, b.operand, p);
  return sentence(cudaGetLastError());
}

}  // namespace ragdot::cuda
