// Plans: who decides the kernel, what a plan says of itself, and what it refuses to run.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <tuple>

#include "tests/cases.hpp"
#include "tests/relaid.hpp"

namespace ragdot::suites {
namespace {

class Plans : public ::testing::Test {
 protected:
  Sample sample_ = make_gmm(gmm_grids().front(), touching({5, 6}, 12, 130, 20), Data::mixed, 1);
  std::vector<float> out_ = std::vector<float>(12 * 20, -1.0F);

  GmmArgs args() {
    return sample_.gmm_args(sample_.lhs.operand(), sample_.rhs.operand(),
                            matrix(static_cast<void*>(out_.data()), Format::f32, 12, 20));
  }
  void expect_untouched() const {
    EXPECT_TRUE(std::all_of(out_.begin(), out_.end(), [](float v) { return v == -1.0F; }));
  }
};

TEST_F(Plans, EveryUsableKernelCanBeForcedAndIsTaken) {
  for (const KernelInfo& kernel : list_kernels()) {
    const Status status = force_kernel(kernel.name);
    EXPECT_EQ(status.ok(), kernel.usable) << status.message();
    if (!kernel.usable) continue;
    const auto plan = make_plan(args());
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_EQ(plan.value().kernel(), kernel.name);
  }
  EXPECT_TRUE(force_kernel("").ok());
}

TEST_F(Plans, AKernelYieldsToAFasterOneUnlessItIsForced) {
  Grids grids;
  grids.lhs = grids.rhs = Format::e4m3;
  grids.lhs_scale = Format::f32;
  grids.lhs_rows = grids.lhs_cols = 1;  // segments of one element
  sample_ = make_gmm(grids, touching({5, 6}, 12, 130, 20), Data::mixed, 1);
  const auto automatic = make_plan(args());
  ASSERT_TRUE(automatic.ok()) << automatic.status().message();
  EXPECT_NE(automatic.value().kernel(), "amx");
  EXPECT_NE(automatic.value().kernel(), "avx512bf16");
  for (const KernelInfo& kernel : list_kernels()) {
    if (!kernel.usable) continue;
    Options options;
    options.kernel = kernel.name;
    const auto plan = make_plan(args(), options);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_EQ(plan.value().kernel(), kernel.name);
  }
}

TEST_F(Plans, UnknownKernelsAreRefusedByName) {
  EXPECT_EQ(force_kernel("fast").code(), Code::unsupported);
  Options options;
  options.kernel = "fast";
  const Status status = gmm(args(), options);
  EXPECT_EQ(status.code(), Code::unsupported);
  EXPECT_EQ(status.message().find("gmm: kernel \"fast\", which the call asks for, is unknown; take one of "), 0U)
      << status.message();
  EXPECT_NE(status.message().find("portable"), std::string::npos) << status.message();
  expect_untouched();
}

TEST_F(Plans, AForcedKernelSaysWhatItDoesNotTake) {
  const Sample sample = make_gmm(Grids{"f32", Format::f32, Format::f32}, touching({3}, 3, 8, 4), Data::mixed, 1);
  std::vector<float> memory(3 * 4);
  const View out = matrix(static_cast<void*>(memory.data()), Format::f32, 3, 4);
  const GmmArgs args = sample.gmm_args(sample.lhs.operand(), sample.rhs.operand(), out);
  for (const KernelInfo& kernel : list_kernels()) {
    if (kernel.name != "avx512bf16") continue;
    Options options;
    options.kernel = kernel.name;
    const std::string sentence = make_plan(args, options).status().message();
    EXPECT_EQ(sentence.find("gmm: kernel avx512bf16, which the call asks for, does not take gmm g=1"), 0U) << sentence;
    EXPECT_EQ(sentence.find("is forced"), std::string::npos) << sentence;
    EXPECT_TRUE(sentence.ends_with("; name none, for the fastest that does")) << sentence;
  }
}

TEST_F(Plans, ThreadsAreBounded) {
  Options options;
  options.threads = std::numeric_limits<int>::max();
  EXPECT_NE(make_plan(args(), options).value().describe().find(" 1024 threads"), std::string::npos);
}

TEST_F(Plans, ThreadsThatCouldGetNoWorkHaveNoMemory) {
  Options options;
  options.tiling = {64, 64, 64};
  const auto bytes_for = [&](int threads) {
    options.threads = threads;
    const auto plan = make_plan(args(), options);
    return plan.ok() ? plan.value().workspace_bytes() : 0;
  };
  EXPECT_LT(bytes_for(1), bytes_for(3));
  EXPECT_EQ(bytes_for(100000), bytes_for(6));  // five spans, and a tile more where one has no more rows than there are
  options.threads = 100000;
  EXPECT_TRUE(gmm(args(), options).ok());
  const std::vector<float> many = out_;
  ASSERT_TRUE(gmm(args()).ok());
  EXPECT_EQ(many, out_);
}

TEST_F(Plans, DescribesAskedAndEffectiveTile) {
  Options options;
  options.tiling = Tiling{3, 1000, 9};
  options.threads = 2;
  const auto plan = make_plan(args(), options);
  ASSERT_TRUE(plan.ok());
  const std::string text = plan.value().describe();
  EXPECT_NE(text.find("asked: 3x1000x9"), std::string::npos) << text;
  EXPECT_NE(text.find("gmm g=2 m=12 k=130 n=20 lhs=e4m3:1x128 rhs=e4m3:128x128 out=f32"), std::string::npos) << text;
  EXPECT_GE(plan.value().effective_tiling().tk, 130);
}

TEST_F(Plans, DescribeEveryChoiceThatTellsProblemsApart) {
  const std::vector<float> bias(2 * 20);
  GmmArgs call = args();
  call.bias = matrix(bias.data(), Format::f32, 2, 20);
  call.activation = Activation::gelu_erf;
  call.rows_outside = RowsOutside::leave;
  call.out_mode = OutMode::accumulate;
  const auto plan = make_plan(call);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_NE(plan.value().describe().find("out=f32 bias=1 act=gelu_erf rows_outside=leave accumulate=1: kernel"),
            std::string::npos)
      << plan.value().describe();
}

TEST_F(Plans, RefuseASmallWorkspaceAndSayHowMuchIsNeeded) {
  const auto plan = make_plan(args());
  ASSERT_TRUE(plan.ok());
  std::vector<std::byte> workspace(plan.value().workspace_bytes() - 1);
  const Status small = run(plan.value(), args(), workspace);
  EXPECT_EQ(small.message(), "gmm: the workspace has " + std::to_string(workspace.size()) + " bytes; the plan needs " +
                                 std::to_string(plan.value().workspace_bytes()));
  EXPECT_FALSE(run(plan.value(), args(), {}).ok());
  EXPECT_FALSE(run(Plan(), args(), workspace).ok());
  EXPECT_EQ(Plan().workspace_bytes(), 0U);
  EXPECT_EQ(Plan().kernel() + Plan().describe() + PackedRhs().describe(), "");
  EXPECT_EQ(PackedRhs().size_bytes(), 0U);
  expect_untouched();
}

TEST_F(Plans, TakeFewerRowsButNoOtherProblem) {
  GmmArgs larger = args();
  larger.lhs.values.rows = 100;
  larger.lhs.scales.view.rows = 100;
  larger.out.rows = 100;
  const auto plan = make_plan(larger);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  std::vector<std::byte> workspace(plan.value().workspace_bytes());
  EXPECT_TRUE(run(plan.value(), args(), workspace).ok());
  EXPECT_NE(out_[0], -1.0F);

  std::fill(out_.begin(), out_.end(), -1.0F);
  GmmArgs relu = args();
  relu.activation = Activation::relu;
  const Status other = run(plan.value(), relu, workspace);
  EXPECT_EQ(other.code(), Code::invalid_argument);
  EXPECT_NE(other.message().find("out=f32 act=relu and the plan was made for gmm g=2 m=100"), std::string::npos)
      << other.message();
  const auto small = make_plan(args());
  ASSERT_TRUE(small.ok());
  const Status status = run(small.value(), larger, workspace);
  EXPECT_EQ(status.message(), "gmm: the call has 100 rows and the plan was made for at most 12; make a plan for the largest M");
  expect_untouched();
}

TEST_F(Plans, OfOneStorageOrderTakeTheOther) {
  Relaid columns;
  relay(sample_.rhs.operand(), 0, true, 0, columns);
  GmmArgs turned = args();
  turned.rhs = columns.operand;
  const auto of_rows = make_plan(args());
  const auto of_columns = make_plan(turned);
  ASSERT_TRUE(of_rows.ok() && of_columns.ok());
  std::vector<float> expected;
  for (const auto& [plan, call] : {std::pair{of_rows, args()}, std::pair{of_rows, turned}, std::pair{of_columns, args()}}) {
    std::fill(out_.begin(), out_.end(), -1.0F);
    std::vector<std::byte> workspace(plan.value().workspace_bytes());
    const Status status = run(plan.value(), call, workspace);
    ASSERT_TRUE(status.ok()) << status.message();
    if (expected.empty()) expected = out_;
    EXPECT_EQ(out_, expected);
  }
}

TEST_F(Plans, OfTgmmWhoseOutHasContiguousColumnsAreThoseOfTheProductTheOtherWayAround) {
  constexpr std::int64_t kK = 300;
  constexpr std::int64_t kN = 40;
  const Sample sample = make_tgmm(tgmm_grids().front(), touching({5, 0, 60}, 70, kK, kN), Data::mixed, 1);
  const Operand lhs = sample.lhs.operand();
  const Operand rhs = sample.rhs.operand();
  std::vector<float> by_rows(3 * kK * kN);
  std::vector<float> by_columns(3 * kK * kN);
  const View rows = {by_rows.data(), Format::f32, 3, kK, kN, kK * kN, kN, 1};
  const View columns = {by_columns.data(), Format::f32, 3, kK, kN, kK * kN, 1, kK};
  const View turned = {by_columns.data(), Format::f32, 3, kN, kK, kK * kN, kK, 1};
  for (const KernelInfo& kernel : list_kernels()) {
    if (!kernel.usable) continue;
    for (const auto& tiling : {std::optional<Tiling>(), std::optional<Tiling>({64, 64, 8})}) {
      Options options;
      options.kernel = kernel.name;
      options.threads = 2;
      options.tiling = tiling;
      const auto of_rows = make_plan(sample.tgmm_args(lhs, rhs, rows), options);
      const auto of_columns = make_plan(sample.tgmm_args(lhs, rhs, columns), options);
      if (tiling) options.tiling = {tiling->tn, tiling->tk, tiling->tm};
      const auto of_turned = make_plan(sample.tgmm_args(rhs, lhs, turned), options);
      ASSERT_TRUE(of_rows.ok() && of_columns.ok() && of_turned.ok());
      const Tiling tile = of_columns.value().effective_tiling();
      const Tiling other = of_turned.value().effective_tiling();
      EXPECT_EQ(std::tuple(tile.tm, tile.tk, tile.tn), std::tuple(other.tn, other.tk, other.tm)) << kernel.name;
      for (const auto& plan : {of_rows, of_columns}) {
        std::vector<std::byte> workspace(plan.value().workspace_bytes());
        std::fill(by_rows.begin(), by_rows.end(), -1.0F);
        std::fill(by_columns.begin(), by_columns.end(), -1.0F);
        ASSERT_TRUE(run(plan.value(), sample.tgmm_args(lhs, rhs, rows), workspace).ok());
        ASSERT_TRUE(run(plan.value(), sample.tgmm_args(lhs, rhs, columns), workspace).ok());
        for (std::size_t g = 0; g < 3; ++g) {
          for (std::size_t k = 0; k < kK; ++k) {
            for (std::size_t n = 0; n < kN; ++n)
              ASSERT_EQ(by_rows[(g * kK + k) * kN + n], by_columns[(g * kN + n) * kK + k]) << kernel.name;
          }
        }
      }
    }
  }
}

TEST_F(Plans, PackedWeightsDescribeThemselvesAndRefuseARival) {
  const auto packed = pack_rhs(sample_.rhs.operand());
  ASSERT_TRUE(packed.ok()) << packed.status().message();
  EXPECT_EQ(packed.value().size_bytes(), 2U * (130 * 32 + 2 * 1 * 4)) << "20 columns take a block of 32";
  EXPECT_NE(packed.value().describe().find("e4m3 [2, 130, 20], scales f32 [2, 2, 1]"), std::string::npos)
      << packed.value().describe();
  GmmArgs both = args();
  both.packed_rhs = packed.value();
  EXPECT_EQ(gmm(both).message(), "gmm: both rhs and packed_rhs are given; give one of them");
  expect_untouched();
}

TEST_F(Plans, AWorkspaceSharesNoMemoryWithACall) {
  const auto plan = make_plan(args());
  ASSERT_TRUE(plan.ok());
  const std::size_t needed = plan.value().workspace_bytes();
  std::vector<std::byte> memory(needed + 4096);
  const std::span<std::byte> workspace(memory);
  const auto sentence = [&](const std::string& what) {
    return "gmm: the workspace of " + std::to_string(needed) + " bytes overlaps " + what + "; give it memory of its own";
  };
  GmmArgs call = args();
  call.out.data = memory.data() + 1024;
  EXPECT_EQ(run(plan.value(), call, workspace).message(), sentence("out [12, 20]"));
  call.out.data = memory.data() + needed;  // behind what is used of it
  EXPECT_TRUE(run(plan.value(), call, workspace).ok());
  call = args();
  call.groups.data = memory.data();
  EXPECT_EQ(run(plan.value(), call, workspace).message(), sentence("the group numbers"));
  call = args();
  call.lhs.values.data = reinterpret_cast<const void*>(std::numeric_limits<std::intptr_t>::max() - 8);
  EXPECT_NE(run(plan.value(), call, workspace).message().find("beyond the address space"), std::string::npos);
  call = args();
  call.lhs.values.data = memory.data() + needed - 1;
  EXPECT_EQ(run(plan.value(), call, workspace).message(), sentence("lhs [12, 130]"));
  expect_untouched();
}

TEST_F(Plans, SayOfTwoMistakesWhatACallWithoutOneSays) {
  const auto plan = make_plan(args());
  ASSERT_TRUE(plan.ok());
  std::vector<std::byte> workspace(plan.value().workspace_bytes());
  const std::array<std::int64_t, 2> starts = {-1, 5};
  GmmArgs call = args();
  call.groups.data = starts.data();
  EXPECT_EQ(gmm(call).message(), "gmm: group start 0 is -1; starts are 0 or more");
  EXPECT_EQ(run(plan.value(), call, workspace).message(), gmm(call).message());
  call.lhs.values.data = nullptr;
  EXPECT_EQ(gmm(call).message(), "gmm: lhs [12, 130]: data is null; give it");
  EXPECT_EQ(run(plan.value(), call, workspace).message(), gmm(call).message());
  expect_untouched();
}

TEST_F(Plans, PackedWeightsOfAnotherDepthAreRefused) {
  const Sample deeper = make_gmm(gmm_grids().front(), touching({5, 6}, 12, 131, 20), Data::mixed, 1);
  const auto packed = pack_rhs(deeper.rhs.operand());
  ASSERT_TRUE(packed.ok()) << packed.status().message();
  GmmArgs call = args();
  call.rhs = {};
  call.packed_rhs = packed.value();
  EXPECT_EQ(
      gmm(call).message(),
      "gmm: inner sizes differ: lhs [12, 130] has K = 130, rhs [2, 131, 20] has K = 131; give rhs as [L, K, N], weights stored "
      "as [L, N, K] as their transposed view");
  expect_untouched();
}

TEST_F(Plans, OfTgmmTakeNoMoreRows) {
  const Grids& grids = tgmm_grids().front();
  const Sample small = make_tgmm(grids, touching({5, 6}, 12, 9, 7), Data::mixed, 1);
  const Sample large = make_tgmm(grids, touching({5, 6}, 13, 9, 7), Data::mixed, 1);
  std::vector<float> slabs(2 * 9 * 7, -1.0F);
  const View out = matrices(static_cast<void*>(slabs.data()), Format::f32, 2, 9, 7);
  const auto plan = make_plan(small.tgmm_args(small.lhs.operand(), small.rhs.operand(), out));
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  std::vector<std::byte> workspace(plan.value().workspace_bytes());
  const Status status = run(plan.value(), large.tgmm_args(large.lhs.operand(), large.rhs.operand(), out), workspace);
  EXPECT_EQ(status.message(), "tgmm: the call has 13 rows and the plan was made for at most 12; make a plan for the largest M");
  EXPECT_EQ(slabs, std::vector<float>(slabs.size(), -1.0F));
}

/// Runs every task on the calling thread, last one first.
class Backwards final : public Executor {
 public:
  void run(int tasks, void (*task)(void* context, int index), void* context) override {
    for (int i = tasks - 1; i >= 0; --i) task(context, i);
    ++calls;
  }
  [[nodiscard]] int concurrency() const override { return threads; }
  std::atomic<int> calls{0};
  int threads = 4;
};

TEST(PlansOfNoColumn, TakeAnyNumberOfRows) {
  constexpr std::int64_t kRows = std::numeric_limits<std::int64_t>::max() - 1;
  const std::array<std::int64_t, 1> sizes = {kRows};
  TgmmArgs args;
  args.lhs = matrix(static_cast<const void*>(nullptr), Format::e5m2, kRows, 0);
  args.rhs = args.lhs;
  args.groups = Groups::from_sizes(std::span<const std::int64_t>(sizes));
  args.out = matrices(static_cast<void*>(nullptr), Format::f32, 1, 0, 0);
  EXPECT_EQ(make_plan(args).status().message(), "");
  EXPECT_EQ(tgmm(args).message(), "");
}

TEST_F(Plans, MatricesWithoutElementsArePackedAtOnce) {
  constexpr std::int64_t kMany = std::int64_t{1} << 49;
  constexpr std::int64_t kHuge = std::int64_t{1} << 56;
  constexpr std::int64_t kNone = 0;
  constexpr std::int64_t kSome = 16;
  for (const auto& [batch, rows, cols] :
       {std::array{kMany, kNone, kSome}, std::array{kSome, kHuge, kNone}, std::array{kSome, kNone, kHuge}}) {
    Operand rhs;
    rhs.values = matrices(static_cast<const void*>(nullptr), Format::f32, batch, rows, cols);
    const auto packed = pack_rhs(rhs);  // matrix after matrix, it would take days
    ASSERT_TRUE(packed.ok()) << packed.status().message();
    EXPECT_EQ(packed.value().size_bytes(), 0U);
  }
}

TEST_F(Plans, WeightsThatPassTheLargestSizeAsBlocksAreRefused) {
  constexpr std::int64_t kRows = std::int64_t{1} << 57;  // 2^59 bytes of one column, 2^64 of a block of 32 columns
  const float one = 1;
  Operand rhs;
  rhs.values = matrices(static_cast<const void*>(&one), Format::f32, 1, kRows, 1);
  EXPECT_EQ(pack_rhs(rhs).status().code(), Code::out_of_memory);
}

TEST_F(Plans, TheCallersExecutorIsUsed) {
  const std::vector<std::byte> expected = compute(sample_);
  Backwards executor;
  Options options;
  options.executor = &executor;
  options.kernel = "portable";  // one kernel, so one call
  options.tiling = Tiling{4, 32, 8};
  expect_same(sample_, expected, compute(sample_, options), "an executor of the caller");
  EXPECT_EQ(executor.calls, 1);
  options.threads = 1;
  expect_same(sample_, expected, compute(sample_, options), "one thread");
  EXPECT_EQ(executor.calls, 1) << "one thread needs no executor";
  options.threads = 0;
  executor.threads = 0;
  expect_same(sample_, expected, compute(sample_, options), "an executor without threads");
}

}  // namespace
}  // namespace ragdot::suites
