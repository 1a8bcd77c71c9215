// The same calls over and over on a machine that is busy with other things: no bit may differ from the first time. Prints a
// table in Markdown; exit 1 when a bit differs.
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string_view>
#include <thread>

#include "ragdot/quantize.hpp"
#include "tests/cases.hpp"

namespace ragdot::suites {
namespace {

/// A call that is made again and again, into `out`, which holds something else every time.
struct SoakCall {
  const char* name;
  std::size_t out_bytes;
  std::function<Status(std::byte* out, const Options& options)> run;
};

/// The operands of the calls.
struct Operands {
  Sample forward = make_gmm(gmm_grids().front(), touching({7, 0, 1, 40}, 50, 256, 96), Data::mixed, 1);
  Sample backward = make_tgmm(tgmm_grids().front(), touching({37, 0, 1, 150}, 200, 48, 96), Data::mixed, 2);
  ConstView plain = matrix(static_cast<const void*>(forward.rhs.values.data()), Format::bf16, 64, 512);
};

View view_of(const Sample& s, std::byte* out) {
  return matrices(static_cast<void*>(out), Format::f32, s.out_batch(), s.out_rows(), s.out_cols());
}
std::size_t bytes_of(const Sample& s) { return static_cast<std::size_t>(s.out_batch() * s.out_rows() * s.out_cols() * 4); }

Status quantize_twice(const ConstView& plain, std::byte* out, const Options& options) {
  const std::int64_t rows = plain.rows;
  const std::int64_t cols = plain.cols;
  const auto size = static_cast<std::size_t>(rows * cols);
  std::byte* scales = out + 2 * size;
  View transposed = matrix(static_cast<void*>(out + size), Format::e4m3, rows, cols);
  transposed.row_stride = 1;
  transposed.col_stride = rows;
  return quantize_both({plain,
                        std::nullopt,
                        {matrix(static_cast<void*>(out), Format::e4m3, rows, cols),
                         {matrix(static_cast<void*>(scales), Format::f32, rows, cols / 128), 1, 128}},
                        {transposed, {matrix(static_cast<void*>(scales + rows * cols / 32), Format::f32, 1, cols), 128, 1}}},
                       options);
}

std::vector<SoakCall> soak_calls(const Operands& operands) {
  const Sample& f = operands.forward;
  const Sample& b = operands.backward;
  const auto run_gmm = [&f](std::byte* out, const Options& options) {
    return gmm(f.gmm_args(f.lhs.operand(), f.rhs.operand(), view_of(f, out)), options);
  };
  const auto run_packed = [&f](std::byte* out, const Options& options) {
    GmmArgs args = f.gmm_args(f.lhs.operand(), {}, view_of(f, out));
    const Result<PackedRhs> packed = pack_rhs(f.rhs.operand(), options);
    if (!packed.ok()) return packed.status();
    args.packed_rhs = packed.value();
    return gmm(args, options);
  };
  const auto run_tgmm = [&b](std::byte* out, const Options& options) {
    return tgmm(b.tgmm_args(b.lhs.operand(), b.rhs.operand(), view_of(b, out)), options);
  };
  const auto run_quantiser = [plain = operands.plain](std::byte* out, const Options& options) {
    return quantize_twice(plain, out, options);
  };
  return {{"gmm", bytes_of(f), run_gmm},
          {"gmm, weights packed", bytes_of(f), run_packed},
          {"tgmm", bytes_of(b), run_tgmm},
          {"quantize_both", static_cast<std::size_t>(64 * 512 * 2 + 64 * 512 / 32 + 512 * 4), run_quantiser}};
}

/// Threads that take the caches, the cores and the library's executor from the calls.
class Contention {
 public:
  explicit Contention(const Operands& operands) {
    for (int t = 0; t < 2; ++t) threads_.emplace_back([this] { sweep(); });
    for (int t = 0; t < 2; ++t) threads_.emplace_back([this, &operands] { call(operands); });
  }
  ~Contention() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  Contention(const Contention&) = delete;
  Contention& operator=(const Contention&) = delete;

 private:
  void sweep() const {
    std::vector<unsigned char> memory(std::size_t{32} << 20);
    for (unsigned char value = 1; !stop_; ++value) std::fill(memory.begin(), memory.end(), value);
  }
  void call(const Operands& operands) const {
    const std::vector<SoakCall> calls = soak_calls(operands);
    const std::vector<KernelInfo> kernels = list_kernels();
    for (std::size_t i = 0; !stop_; ++i) {
      const KernelInfo& kernel = kernels[i % kernels.size()];
      Options options;
      if (kernel.usable) options.kernel = kernel.name;
      std::vector<std::byte> out(calls[i % calls.size()].out_bytes);
      if (Status s = calls[i % calls.size()].run(out.data(), options); !s.ok()) std::abort();
    }
  }

  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

std::int64_t differing_bits(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
  std::int64_t bits = 0;
  for (std::size_t i = 0; i < a.size(); ++i) bits += std::popcount(static_cast<unsigned>(a[i] ^ b[i]));
  return bits;
}

/// Prints a row; returns how many bits differed in all calls.
std::int64_t soak(const SoakCall& call, const std::string& kernel, std::int64_t calls) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::byte> first;
  std::int64_t bits = 0;
  for (std::int64_t i = 0; i < calls; ++i) {
    Options options;
    options.kernel = kernel;
    options.threads = static_cast<int>(1 + i % 4);
    std::vector<std::byte> out(call.out_bytes, static_cast<std::byte>(i));
    if (Status s = call.run(out.data(), options); !s.ok()) {
      fmt::print(stderr, "soak: {}, kernel {}: {}\n", call.name, kernel, s.message());
      std::exit(1);
    }
    if (i == 0) first = out;
    if (out != first) bits += differing_bits(out, first);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  fmt::print("| {} | {} | {} | {} | {} | {:.1f} |\n", call.name, kernel, calls,
             calls * static_cast<std::int64_t>(call.out_bytes) * 8, bits, seconds.count());
  std::fflush(stdout);
  return bits;
}

int run(std::int64_t calls) {
  const Operands operands;
  fmt::print("| call | kernel | calls | bits compared | bits that differ | seconds |\n|---|---|---|---|---|---|\n");
  std::int64_t bits = 0;
  const Contention contention(operands);
  for (const SoakCall& call : soak_calls(operands)) {
    for (const KernelInfo& kernel : list_kernels()) {
      if (kernel.usable) {
        bits += soak(call, kernel.name, calls);
      } else {
        fmt::print("| {} | {} | not run: {} | | | |\n", call.name, kernel.name, kernel.reason);
      }
    }
  }
  return bits == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ragdot::suites

int main(int argc, char** argv) {
  const std::int64_t calls = argc == 3 && std::string_view(argv[1]) == "--calls" ? std::atoll(argv[2]) : 0;
  if (calls > 0) return ragdot::suites::run(calls);
  fmt::print(stderr, "usage: {} --calls N\n", argv[0]);
  return 2;
}
