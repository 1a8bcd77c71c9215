// Times of the device quantisers against a device copy.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "cuda/device/quantize.hpp"
#include "device_bytes.cuh"
#include "ragdot/groups.hpp"

namespace {

using namespace ragdot;

/// bf16 of about normal values, from a hash of the index.
__global__ void fill(std::uint32_t* pairs, std::int64_t count) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
    std::uint64_t h = static_cast<std::uint64_t>(i) * 0x9e3779b97f4a7c15U;
    h = (h ^ h >> 31) * 0xbf58476d1ce4e5b9U;
    h ^= h >> 27;
    float sums[2] = {-2.0F, -2.0F};
    for (int k = 0; k < 4; ++k) {
      sums[0] += static_cast<float>(h >> (8 * k) & 255) * 0x1p-8F;
      sums[1] += static_cast<float>(h >> (8 * k + 32) & 255) * 0x1p-8F;
    }
    pairs[i] = __float_as_uint(sums[0]) >> 16 | (__float_as_uint(sums[1]) & 0xffff0000U);
  }
}

/// Median milliseconds of 20 runs, after 3.
template <class F>
double median_ms(F run) {
  cudaEvent_t begin;
  cudaEvent_t end;
  must(cudaEventCreate(&begin), "event");
  must(cudaEventCreate(&end), "event");
  std::vector<float> times;
  for (int i = 0; i < 23; ++i) {
    must(cudaEventRecord(begin), "record");
    run();
    must(cudaEventRecord(end), "record");
    must(cudaEventSynchronize(end), "run");
    float ms = 0;
    must(cudaEventElapsedTime(&ms, begin, end), "time");
    if (i >= 3) times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void report(const char* what, double ms, double bytes, double copy_rate) {
  const double rate = bytes / ms * 1e-6;
  std::printf("%-66s %8.3f ms %7.0f GB/s", what, ms, rate);
  copy_rate > 0 ? std::printf("  %.2f of the copy\n", rate / copy_rate) : std::printf("\n");
}

struct Bench {
  cuda::Quantize args;
  std::vector<cuda::QuantizedCopy> copies;
};

/// Times the first copy alone, the second alone and both.
void time_both(const char* what, const Bench& bench, double copy_rate) {
  const double elements = static_cast<double>(bench.args.batch * bench.args.rows * bench.args.cols);
  const char* const names[] = {"both copies", "first alone", "second alone"};
  for (int which = 0; which < 3; ++which) {
    cuda::Quantize args = bench.args;
    if (which != 2) args.first = bench.copies[0];
    if (which != 1) args.second = bench.copies[1];
    const double ms = median_ms([&] { must(cuda::quantize(args, nullptr)); });
    report((std::string(what) + ", " + names[which]).c_str(), ms, elements * (which == 0 ? 4 : 3), copy_rate);
  }
}

void time_quantisers() {
  constexpr std::int64_t kRows = 65536;
  constexpr std::int64_t kCols = 7168;
  constexpr std::int64_t kGroups = 32;
  constexpr std::int64_t kElements = kRows * kCols;  // more than the weights' 8 * 7168 * 4096
  const DeviceBytes input(kElements * 2);
  const DeviceBytes first(kElements);
  constexpr std::int64_t kAlignedRows = cuda::most_aligned_rows(kRows, kGroups);
  const DeviceBytes second(kAlignedRows * kCols);
  const DeviceBytes first_scales(kRows * kCols / 128 * 4);
  const DeviceBytes second_scales((kRows / 128 + kGroups) * kCols * 4);
  const DeviceBytes workspace(cuda::quantize_workspace_bytes(kGroups));
  const DeviceBytes starts(kGroups * 4);
  const DeviceBytes sizes(kGroups * 4);
  fill<<<2048, 256>>>(reinterpret_cast<std::uint32_t*>(input.data()), kElements / 2);
  must(cudaGetLastError(), "fill");
  double copy_rate = 0;
  const auto time_copy = [&] {
    const double ms =
        median_ms([&] { must(cudaMemcpyAsync(first.data(), input.data(), kElements, cudaMemcpyDeviceToDevice), "copy"); });
    copy_rate = 2.0 * kElements / ms * 1e-6;
    report("device copy", ms, 2.0 * kElements, 0);
  };
  time_copy();

  struct Tokens {
    const char* what;
    bool even;     // groups of one size
    bool aligned;  // the transposed copy's groups begin at multiples of 16
  };
  for (const Tokens& tokens : {Tokens{"tokens [65536, 7168], 32 groups of any size", false, false},
                               Tokens{"tokens [65536, 7168], 32 groups of any size, aligned", false, true},
                               Tokens{"tokens [65536, 7168], 32 groups of 2048", true, false}}) {
    std::mt19937_64 engine(5);
    std::vector<std::int32_t> ends;
    for (std::int64_t g = 1; g < kGroups; ++g) {
      const auto even = static_cast<std::int32_t>(kRows / kGroups * g);
      ends.push_back(tokens.even ? even : even - 700 + static_cast<std::int32_t>(engine() % 1401));
    }
    ends.push_back(kRows);
    const DeviceBytes numbers(ends.size() * 4);
    must(cudaMemcpy(numbers.data(), ends.data(), ends.size() * 4, cudaMemcpyHostToDevice), "groups");
    Bench bench;
    bench.args.input = input.data();
    bench.args.rows = kRows;
    bench.args.cols = kCols;
    bench.args.row_stride = kCols;
    bench.args.groups = {static_cast<std::int32_t>(Groups::Kind::ends), 32, numbers.data(), nullptr, kGroups, 0, kGroups};
    bench.args.workspace = workspace.data();
    const auto values = [](const DeviceBytes& bytes) { return static_cast<void*>(bytes.data()); };
    const auto scales = [](const DeviceBytes& bytes) { return reinterpret_cast<float*>(bytes.data()); };
    const std::int64_t block_rows = cuda::most_scale_rows(kRows, kGroups, 128);
    bench.copies = {{values(first), Format::e4m3, 0, kCols, 1, scales(first_scales), 0, kCols / 128, 1, kRows, 1, 128},
                    {values(second), Format::e4m3, 0, 1, kRows, scales(second_scales), 0, kCols, 1, block_rows, 128, 1}};
    if (tokens.aligned) {
      bench.copies[1].col_stride = kAlignedRows;
      bench.copies[1].aligned_groups = true;
      bench.args.aligned_starts = starts.data();
      bench.args.aligned_sizes = sizes.data();
    }
    time_both(tokens.what, bench, copy_rate);
  }

  constexpr std::int64_t kK = 7168;
  constexpr std::int64_t kN = 4096;
  Bench bench;
  bench.args.input = input.data();
  bench.args.batch = 8;
  bench.args.rows = kK;
  bench.args.cols = kN;
  bench.args.batch_stride = kK * kN;
  bench.args.row_stride = kN;
  auto* scales = reinterpret_cast<float*>(first_scales.data());
  constexpr std::int64_t kScales = (kK / 128) * (kN / 128);
  float* more = scales + 8 * kScales;
  bench.copies = {{first.data(), Format::e4m3, kK * kN, kN, 1, scales, kScales, kN / 128, 1, kK / 128, 128, 128},
                  {second.data(), Format::e4m3, kK * kN, 1, kK, more, kScales, kN / 128, 1, kK / 128, 128, 128}};
  time_both("weights [8, 7168, 4096]", bench, copy_rate);
  time_copy();
}

}  // namespace
