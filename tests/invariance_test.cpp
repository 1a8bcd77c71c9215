// The bits do not depend on how a call runs: kernel, tiling, threads, executor, plan, packing, memory layout, float
// environment.
#include <gtest/gtest.h>
#include <xmmintrin.h>

#include <cfenv>
#include <cstring>
#include <memory>

#include "tests/cases.hpp"
#include "tests/relaid.hpp"

namespace ragdot::suites {
namespace {

class Invariance : public ::testing::TestWithParam<SuiteCase> {
 protected:
  Sample sample_ = make_sample(GetParam());
  std::vector<std::byte> expected_ = compute(sample_);

  void expect_equal(const std::vector<std::byte>& got, const std::string& what) const {
    expect_same(sample_, expected_, got, what);
  }
};

INSTANTIATE_TEST_SUITE_P(All, Invariance, ::testing::ValuesIn(all_cases()), case_name);

TEST_P(Invariance, Threads) {
  for (const int threads : {1, 2, 3, 5, 8}) {
    for (Executor* executor : {&default_executor(), &thread_executor()}) {
      Options options;
      options.threads = threads;
      options.executor = executor;
      options.tiling = Tiling{16, 64, 16};
      expect_equal(compute(sample_, options), std::to_string(threads) + " threads");
    }
  }
}

TEST_P(Invariance, Tilings) {
  constexpr Tiling kTilings[] = {{128, 128, 128}, {1, 1, 1},        {33, 97, 65},
                                 {5, 32, 7},      {512, 1024, 512}, {kWholeAxis, 40, kWholeAxis}};
  for (const Tiling& tiling : kTilings) {
    Options options;
    options.tiling = tiling;
    expect_equal(compute(sample_, options),
                 "tile " + std::to_string(tiling.tm) + "x" + std::to_string(tiling.tk) + "x" + std::to_string(tiling.tn));
  }
}

TEST_P(Invariance, Kernels) {
  for (const KernelInfo& kernel : list_kernels()) {
    if (!kernel.usable) std::printf("not run on this CPU: kernel %s: %s\n", kernel.name.c_str(), kernel.reason.c_str());
  }
  const std::vector<std::string> kernels = kernels_for(sample_, sample_.lhs.operand(), sample_.rhs.operand());
  ASSERT_FALSE(kernels.empty());
  for (const std::string& kernel : kernels) {
    Options options;
    options.kernel = kernel;
    expect_equal(compute(sample_, options), "kernel " + kernel);
  }
}

TEST_P(Invariance, RepeatedCallsOnOneWorkspace) {
  std::vector<std::byte> out(expected_.size());
  const View view =
      matrices(static_cast<void*>(out.data()), sample_.out_format, sample_.out_batch(), sample_.out_rows(), sample_.out_cols());
  const Operand lhs = sample_.lhs.operand();
  const Operand rhs = sample_.rhs.operand();
  const auto plan = sample_.is_gmm ? make_plan(sample_.gmm_args(lhs, rhs, view)) : make_plan(sample_.tgmm_args(lhs, rhs, view));
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  std::vector<std::byte> workspace(plan.value().workspace_bytes(), std::byte{0xff});
  for (int call = 0; call < 3; ++call) {
    std::fill(out.begin(), out.end(), sample_.out_fill);
    const Status status = sample_.is_gmm ? run(plan.value(), sample_.gmm_args(lhs, rhs, view), workspace)
                                         : run(plan.value(), sample_.tgmm_args(lhs, rhs, view), workspace);
    ASSERT_TRUE(status.ok()) << status.message();
    expect_equal(out, "call " + std::to_string(call));
  }
}

TEST_P(Invariance, CallersFloatEnvironment) {
  const unsigned before = _mm_getcsr();
  for (const unsigned rounding : {0x0000U, 0x2000U, 0x4000U, 0x6000U}) {
    for (const int threads : {1, 2}) {  // one thread is the caller's own
      Options options;
      options.threads = threads;
      _mm_setcsr(0x1f80U | rounding);
      const std::vector<std::byte> got = compute(sample_, options);
      const unsigned after = _mm_getcsr();
      _mm_setcsr(before);
      expect_equal(got, "rounding mode " + std::to_string(rounding >> 13));
      EXPECT_EQ(after & ~0x3fU, 0x1f80U | rounding);
    }
  }
}

/// Groups with more than their share of the rows are cut, and none ends where tiles of the others do.
TEST_P(Invariance, ThreadsOnSkewedGroups) {
  const Sample skewed = make_sample(GetParam(), {{0, 3, 3, 403, 403}, {3, 0, 400, 0, 37}, 450, 70, 200}, Data::mixed, 5);
  Options options;
  options.threads = 1;
  const std::vector<std::byte> expected = compute(skewed, options);
  for (const int threads : {2, 3, 8}) {
    options.threads = threads;
    expect_same(skewed, expected, compute(skewed, options), std::to_string(threads) + " threads");
  }
}

TEST_P(Invariance, StorageOrderAndLeadingDimensions) {
  for (const bool lhs_transposed : {false, true}) {
    for (const bool rhs_transposed : {false, true}) {
      Relaid lhs;
      Relaid rhs;
      relay(sample_.lhs.operand(), 0, lhs_transposed, 3, lhs);
      relay(sample_.rhs.operand(), 0, rhs_transposed, 5, rhs);
      expect_equal(compute(sample_, lhs.operand, rhs.operand),
                   "transposed storage " + std::to_string(lhs_transposed) + std::to_string(rhs_transposed));
    }
  }
}

TEST_P(Invariance, ByteOffsets) {
  for (std::int64_t offset = 1; offset <= 16; ++offset) {
    Relaid lhs;
    Relaid rhs;
    relay(sample_.lhs.operand(), offset, false, 0, lhs);
    relay(sample_.rhs.operand(), 17 - offset, false, 0, rhs);
    expect_equal(compute(sample_, lhs.operand, rhs.operand), "offset " + std::to_string(offset));
  }
}

TEST_P(Invariance, OutStridesAndWhatLiesBetween) {
  constexpr std::int64_t kPadding = 3;
  const std::int64_t rows = sample_.out_rows();
  const std::int64_t cols = sample_.out_cols();
  for (const bool transposed : {false, true}) {
    View out;
    out.format = Format::f32;
    out.batch = sample_.out_batch();
    out.rows = rows;
    out.cols = cols;
    out.row_stride = transposed ? 1 : cols + kPadding;
    out.col_stride = transposed ? rows + kPadding : 1;
    out.batch_stride = (rows + kPadding) * (cols + kPadding);
    std::vector<std::uint32_t> buffer(static_cast<std::size_t>(out.batch * out.batch_stride), 0x7fbadbadU);
    out.data = buffer.data();
    const Operand lhs = sample_.lhs.operand();
    const Operand rhs = sample_.rhs.operand();
    const Status status = sample_.is_gmm ? gmm(sample_.gmm_args(lhs, rhs, out)) : tgmm(sample_.tgmm_args(lhs, rhs, out));
    ASSERT_TRUE(status.ok()) << status.message();
    std::vector<std::byte> dense(expected_.size());
    for (std::int64_t b = 0; b < out.batch; ++b) {
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < cols; ++c) {
          auto& at = buffer[static_cast<std::size_t>(b * out.batch_stride + r * out.row_stride + c * out.col_stride)];
          std::memcpy(dense.data() + ((b * rows + r) * cols + c) * 4, &at, 4);
          at = 0x7fbadbadU;
        }
      }
    }
    expect_equal(dense, transposed ? "column-major out" : "padded out");
    for (const std::uint32_t word : buffer) ASSERT_EQ(word, 0x7fbadbadU) << "a word between the rows of out was written";
  }
}

/// Packed once, multiplied by every kernel.
TEST_P(Invariance, PackedWeights) {
  if (!sample_.is_gmm) GTEST_SKIP() << "only gmm has weights to pack";
  const auto packed = pack_rhs(sample_.rhs.operand());
  ASSERT_TRUE(packed.ok()) << packed.status().message();
  for (const std::string& kernel : kernels_for(sample_, sample_.lhs.operand(), sample_.rhs.operand())) {
    Options options;
    options.kernel = kernel;
    std::vector<std::byte> out(expected_.size(), sample_.out_fill);
    const View view = matrices(static_cast<void*>(out.data()), sample_.out_format, 1, sample_.out_rows(), sample_.out_cols());
    GmmArgs args = sample_.gmm_args(sample_.lhs.operand(), {}, view);
    args.packed_rhs = packed.value();
    const Status status = gmm(args, options);
    ASSERT_TRUE(status.ok()) << status.message();
    expect_equal(out, kernel + ", " + packed.value().describe());
  }
}

}  // namespace
}  // namespace ragdot::suites
