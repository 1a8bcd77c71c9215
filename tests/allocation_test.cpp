// A planned call allocates nothing: every operator new of the process is counted. On its own in a program's tests, since others
// may not run beside it.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "tests/cases.hpp"
#include "tests/layouts.hpp"
#include "tests/one_thread.hpp"

namespace {
std::atomic<std::int64_t> allocations{0};
}  // namespace

#ifndef RAGDOT_SANITIZED  // sanitizers bring operators of their own
#define RAGDOT_COUNTS_ALLOCATIONS
void* operator new(std::size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* at = std::malloc(bytes == 0 ? 1 : bytes)) return at;
  throw std::bad_alloc();
}
void operator delete(void* at) noexcept { std::free(at); }
void operator delete(void* at, std::size_t) noexcept { std::free(at); }
#endif

namespace ragdot::suites {
namespace {

/// Allocations of a planned call behind the first one.
template <class Args>
std::int64_t allocations_of(const Args& args, const Options& options) {
  const auto plan = make_plan(args, options);
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  std::vector<std::byte> workspace(plan.value().workspace_bytes());
  EXPECT_TRUE(run(plan.value(), args, workspace).ok());
  const std::int64_t before = allocations.load();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(run(plan.value(), args, workspace).ok());
  return allocations.load() - before;
}

TEST(Allocations, APlannedCallMakesNone) {
#ifndef RAGDOT_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "sanitizers bring their own operator new";
#endif
  OneThread one;  // no memory of a pool is counted
  for (const Sample& s : {make_gmm(gmm_grids().front(), touching({5, 60}, 65, 130, 200), Data::mixed, 1),
                          make_tgmm(tgmm_grids().front(), touching({5, 60}, 65, 130, 200), Data::mixed, 1)}) {
    std::vector<float> out(static_cast<std::size_t>(s.out_batch() * s.out_rows() * s.out_cols()));
    const View view = matrices(static_cast<void*>(out.data()), Format::f32, s.out_batch(), s.out_rows(), s.out_cols());
    for (const std::string& kernel : kernels_for(s, s.lhs.operand(), s.rhs.operand())) {
      Options options;
      options.kernel = kernel;
      options.executor = &one;
      const std::int64_t made = s.is_gmm ? allocations_of(s.gmm_args(s.lhs.operand(), s.rhs.operand(), view), options)
                                         : allocations_of(s.tgmm_args(s.lhs.operand(), s.rhs.operand(), view), options);
      EXPECT_EQ(made, 0) << kernel;
    }
  }
}

/// Weights in every layout times few rows and many: each way that a kernel has for them.
TEST(Allocations, NoWayOfMultiplyingMakesOne) {
#ifndef RAGDOT_COUNTS_ALLOCATIONS
  GTEST_SKIP() << "sanitizers bring their own operator new";
#endif
  OneThread one;
  Options options;
  options.executor = &one;
  const std::vector<Grids>& all = gmm_grids();
  for (const char* name : {"bf16", "blockwise"}) {
    const auto grids = std::find_if(all.begin(), all.end(), [&](const Grids& g) { return g.name == name; });
    ASSERT_NE(grids, all.end());
    for (const std::int64_t rows : {1, 2, 4, 8, 16, 64}) {
      const Sample s = make_gmm(*grids, touching({rows, rows}, 2 * rows, 1024, 64), Data::mixed, 1);
      in_every_layout(s, options, std::string(name) + ", " + std::to_string(rows) + " rows",
                      [](const GmmArgs& args, const Options& chosen, const std::string& what) {
                        EXPECT_EQ(allocations_of(args, chosen), 0) << what;
                      });
    }
  }
}

}  // namespace
}  // namespace ragdot::suites
