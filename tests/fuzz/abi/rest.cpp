// Kernels, the error bound, the executor on OpenMP's threads.
#include <fmt/format.h>

#include "tests/fuzz/abi/harness.hpp"

namespace ragdot::fuzz {
namespace {

std::int32_t openmp_threads = 1;

void parallel(void (*body)(void* data), void* data, unsigned threads, unsigned /*flags*/) {
  for (unsigned i = 0; i < threads && i < 4; ++i) body(data);  // a runtime may give fewer threads than asked for
}
int max_threads() { return openmp_threads; }

}  // namespace

void fuzz_kernels(Harness& h) {
  ragdot_kernel_info info{};
  info.struct_size = sizeof info;
  const auto index = h.input.flag() ? h.input.number<std::int32_t>() : static_cast<std::int32_t>(h.input.below(8)) - 1;
  Fields fields;
  fields.add_size(info.struct_size);
  h.mutate(fields);
  Guard guard(h.arena());
  if (index < 0 || index >= ragdot_kernel_count() || told_bytes(info) == sizeof info.struct_size) guard.must_refuse();
  const Placed<ragdot_kernel_info> placed(info, told_bytes(info));
  const std::size_t told = told_bytes(info);
  const int code = h.checked(guard, [&] { return ragdot_kernel(index, placed.get()); });
  if (code != RAGDOT_OK && std::memcmp(placed.get(), &info, told) != 0) fail("a refused ragdot_kernel has written");

  char name[12] = {};
  const bool known = h.input.flag();
  for (std::size_t i = 0; i + 1 < sizeof name && !known; ++i) name[i] = static_cast<char>(h.input.byte());
  Guard forced(h.arena());
  h.arena().close_all();
  h.checked(forced, [&] { return ragdot_force_kernel(known ? "portable" : name); });
  ragdot_force_kernel(nullptr);
}

void fuzz_error_bound(Harness& h) {
  const auto abs_sum = h.input.number<double>();
  const auto segments = h.input.number<std::int64_t>();
  const auto longest = h.input.number<std::int64_t>();
  const auto flush_sum = h.input.number<double>();
  const double bound = ragdot_error_bound(abs_sum, segments, longest, flush_sum);
  const bool usual = abs_sum >= 0 && abs_sum < 1e300 && flush_sum >= 0 && flush_sum < 1e300 && segments >= 0 &&
                     segments < 1000000 && longest >= 0 && longest < 1000000;
  if (usual && !(bound >= 0)) fail(fmt::format("the bound of {} in {} segments is {}", abs_sum, segments, bound));
}

void fuzz_openmp(Harness& h) {
  openmp_threads = h.input.flag() ? h.input.number<std::int32_t>() : static_cast<std::int32_t>(h.input.below(5));
  ragdot_openmp openmp{parallel, max_threads};
  const std::int64_t tasks = h.input.below(9);
  std::array<int, 9> done{};
  ragdot_openmp_run(
      &openmp, static_cast<std::int32_t>(tasks), [](void* context, std::int32_t i) { ++static_cast<int*>(context)[i]; },
      done.data());
  for (std::size_t i = 0; i < done.size(); ++i) {
    if (done[i] != (static_cast<std::int64_t>(i) < tasks ? 1 : 0)) fail(fmt::format("task {} ran {} times", i, done[i]));
  }
}

}  // namespace ragdot::fuzz
