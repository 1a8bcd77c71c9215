// From a Product to launches: maps, spans, and the instantiation that fits. Included by one source for each family of shapes.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>

#include "cuda/device/groups.cuh"
#include "cuda/device/maps.cuh"
#include "cuda/device/product.cuh"

namespace ragdot::cuda {

/// Reading `error` once keeps it from being found by a later, innocent call.
inline const char* sentence(cudaError_t error) { return error == cudaSuccess ? nullptr : cudaGetErrorString(error); }

/// How many clusters run at one time. Not half the number of multiprocessors: a part of the chip with an odd number of them leaves
/// one over, and a cluster that had to wait for all others to end would double the time.
template <class S>
cudaError_t most_clusters(int& clusters) {
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return error;
  static std::atomic<int> known[64];  // by device, 0: not asked yet
  std::atomic<int>& here = known[device % 64];
  clusters = here.load(std::memory_order_relaxed);
  if (clusters != 0) return cudaSuccess;
  cudaError_t error = cudaFuncSetAttribute(product_kernel<S>, cudaFuncAttributeMaxDynamicSharedMemorySize, S::kSharedBytes);
  if (error != cudaSuccess) return error;
  cudaLaunchConfig_t config{};
  config.gridDim = kClusterBlocks;
  config.blockDim = kThreads;
  config.dynamicSmemBytes = S::kSharedBytes;
  error = cudaOccupancyMaxActiveClusters(&clusters, product_kernel<S>, &config);
  if (error == cudaSuccess) here.store(clusters, std::memory_order_relaxed);
  return error;
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
  constexpr std::int64_t kAtOnce = S::kOut == Format::f32 ? 2 : 8;
  p.aligned_rows = reinterpret_cast<std::uintptr_t>(product.out) % 16 == 0 && product.out_pitch % kAtOnce == 0 &&
                   product.out_batch_pitch % kAtOnce == 0;

  CUtensorMap map_a{};
  CUtensorMap map_b{};
  constexpr int kLineLength = S::kScaled ? 128 : 64;
  if (const char* why = encode_map(map_a, product.a, kLineLength, 64); why != nullptr) return why;
  if (const char* why = encode_map(map_b, product.b, kLineLength, S::kAcrossB ? 64 : S::kCols); why != nullptr) return why;

  SpanRules rules;
  rules.rows = product.m;
  if constexpr (S::kOp == Op::gmm) {
    rules.outside = product.zero_outside;
    rules.tile_rows = kTileRows;
    rules.tiles = p.pairs;
  } else {
    rules.keep_empty = true;
    rules.tiles = ceil_div(p.k, kTileRows) * p.pairs;
  }
  if (const cudaError_t error = find_spans(product.groups, rules, product.workspace, stream); error != cudaSuccess) return sentence(error);
  if (S::kOp == Op::tgmm) {
    make_group_maps(map_a, map_b, S::kAcrossA ? 1 : 0, S::kAcrossB ? 1 : 0, p.spans, product.groups.local, maps, stream);
  }

  int clusters = 0;
  if (const cudaError_t error = most_clusters<S>(clusters); error != cudaSuccess) return sentence(error);
  if (product.multiprocessors > 0) clusters = std::min(clusters, std::max(product.multiprocessors / kClusterBlocks, 1));
  product_kernel<S><<<static_cast<unsigned>(clusters * kClusterBlocks), kThreads, S::kSharedBytes, stream>>>(map_a, map_b, p);
  return sentence(cudaGetLastError());
}

}  // namespace ragdot::cuda
