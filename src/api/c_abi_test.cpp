// The C interface: struct sizes, errors, handles, the caller's executor, and the same results as the C++ calls.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <thread>
#include <vector>

#include "api/bad_calls.hpp"
#include "api/c_abi.hpp"
#include "ragdot/ragdot.h"

namespace ragdot::c_abi {
namespace {

/// A struct that has grown since its first header.
struct Grown {
  std::size_t struct_size;
  std::int64_t first;
  std::int64_t later;
};

}  // namespace

template <>
constexpr std::size_t kFirstBytes<Grown> = offsetof(Grown, later);

namespace {

TEST(Structs, FieldsThatAnOlderOneLacksAreZero) {
  Grown given{offsetof(Grown, later), 1, 99};  // 99 stands behind the end that the caller's header knows
  Grown full{};
  ASSERT_TRUE(read_struct({"f", "args", "grown"}, &given, full).ok());
  EXPECT_EQ(full.first, 1);
  EXPECT_EQ(full.later, 0);
  given.struct_size = sizeof given;
  ASSERT_TRUE(read_struct({"f", "args", "grown"}, &given, full).ok());
  EXPECT_EQ(full.later, 99);
  given.struct_size = offsetof(Grown, later) - 1;
  EXPECT_EQ(read_struct({"f", "args", "grown"}, &given, full).message(),
            "f: struct_size of args is 15; set it to sizeof(grown)");
}

}  // namespace
}  // namespace ragdot::c_abi

namespace ragdot::api {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

ragdot_const_view c_view(const ConstView& v) {
  return {v.data, static_cast<int32_t>(v.format), v.batch, v.rows, v.cols, v.batch_stride, v.row_stride, v.col_stride};
}
ragdot_operand c_operand(const Operand& o) {
  return {c_view(o.values),
          {c_view(o.scales.view), o.scales.block_rows, o.scales.block_cols, static_cast<int32_t>(o.scales.origin)}};
}
ragdot_groups c_groups(const Groups& g) {
  return {static_cast<int32_t>(g.kind), static_cast<int32_t>(g.index), g.data, g.sizes, g.count};
}
ragdot_view c_view(const View& v) {
  return {v.data, static_cast<int32_t>(v.format), v.batch, v.rows, v.cols, v.batch_stride, v.row_stride, v.col_stride};
}

/// The legal calls of bad_calls.hpp with data that gives distinct results, in C.
struct CGmm : GmmCall {
  ragdot_gmm_args c{};

  CGmm() {
    for (std::size_t i = 0; i < Buffers::kBytes; ++i) memory.lhs[i] = memory.rhs[i] = static_cast<std::byte>(0x30 + i % 17);
    memory.lhs_scales[3] = 4;
    c.struct_size = sizeof c;
    c.lhs = c_operand(args.lhs);
    c.rhs = c_operand(args.rhs);
    c.groups = c_groups(args.groups);
    c.out = c_view(args.out);
    c.bias = c_view(args.bias);
  }
};
struct CTgmm : TgmmCall {
  ragdot_tgmm_args c{};

  CTgmm() {
    for (std::size_t i = 0; i < Buffers::kBytes; ++i) memory.lhs[i] = memory.rhs[i] = static_cast<std::byte>(0x30 + i % 17);
    c.struct_size = sizeof c;
    c.lhs = c_operand(args.lhs);
    c.rhs = c_operand(args.rhs);
    c.groups = c_groups(args.groups);
    c.out = c_view(args.out);
  }
};

/// What the C++ call writes.
template <class Call>
std::array<std::byte, Buffers::kBytes> expected() {
  Call call;
  EXPECT_EQ(call.call().message(), "");
  return call.memory.out;
}

TEST(CAbi, ComputesWhatTheCppCallsCompute) {
  CGmm g;
  ASSERT_EQ(ragdot_gmm(&g.c, nullptr), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(g.memory.out, expected<CGmm>());
  CTgmm t;
  ASSERT_EQ(ragdot_tgmm(&t.c, nullptr), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(t.memory.out, expected<CTgmm>());
}

TEST(CAbi, PassesEveryChoiceOn) {
  CGmm c;
  c.c.activation = RAGDOT_SILU;
  c.c.rows_outside = RAGDOT_ROWS_OUTSIDE_LEAVE;
  c.c.out_mode = RAGDOT_ACCUMULATE;
  c.c.first_group = 1;
  c.c.rhs.values.batch = c.c.rhs.scales.view.batch = c.c.bias.rows = 2;
  CGmm cpp;
  cpp.args.activation = Activation::silu;
  cpp.args.rows_outside = RowsOutside::leave;
  cpp.args.out_mode = OutMode::accumulate;
  cpp.args.first_group = 1;
  cpp.args.rhs.values.batch = cpp.args.rhs.scales.view.batch = cpp.args.bias.rows = 2;
  c.memory.out.fill(std::byte{});
  cpp.memory.out.fill(std::byte{});
  ASSERT_EQ(ragdot_gmm(&c.c, nullptr), RAGDOT_OK) << ragdot_last_error();
  ASSERT_TRUE(cpp.call().ok());
  EXPECT_EQ(c.memory.out, cpp.memory.out);
}

TEST(CAbi, RefusesStructsWithoutASize) {
  CGmm c;
  c.c.struct_size = 0;
  EXPECT_EQ(ragdot_gmm(&c.c, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_gmm: struct_size of args is 0; set it to sizeof(ragdot_gmm_args)");
  EXPECT_EQ(ragdot_gmm(nullptr, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_gmm: args is null; give a ragdot_gmm_args");
  c.c.struct_size = sizeof c.c;
  const ragdot_options options{};
  EXPECT_EQ(ragdot_gmm(&c.c, &options), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_gmm: struct_size of options is 0; set it to sizeof(ragdot_options)");
  EXPECT_TRUE(c.memory.untouched());
}

TEST(CAbi, RefusesStructsOfANewerHeader) {
  CTgmm c;
  c.c.struct_size = sizeof c.c + 8;
  EXPECT_EQ(ragdot_tgmm(&c.c, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(ragdot_last_error(), "ragdot_tgmm: struct_size of args is " + std::to_string(sizeof c.c + 8) + "; version " +
                                     version() + " of the library knows " + std::to_string(sizeof c.c) +
                                     " bytes of ragdot_tgmm_args, use one as new as its header");
  EXPECT_TRUE(c.memory.untouched());
}

TEST(CAbi, RefusesSizesThatNoHeaderGaveAStruct) {
  CGmm c;
  c.c.first_group = 99;
  for (const std::size_t bytes : {sizeof(ragdot_tgmm_args), offsetof(ragdot_gmm_args, first_group), sizeof(std::size_t)}) {
    c.c.struct_size = bytes;
    EXPECT_EQ(ragdot_gmm(&c.c, nullptr), RAGDOT_INVALID_ARGUMENT);
    EXPECT_EQ(ragdot_last_error(),
              "ragdot_gmm: struct_size of args is " + std::to_string(bytes) + "; set it to sizeof(ragdot_gmm_args)");
  }
  EXPECT_TRUE(c.memory.untouched());
}

TEST(CAbi, KeepsTheSentenceOfEachThread) {
  CGmm c;
  c.c.first_group = -1;
  EXPECT_EQ(ragdot_gmm(&c.c, nullptr), RAGDOT_INVALID_ARGUMENT);
  std::string elsewhere = "?";
  std::thread([&] { elsewhere = ragdot_last_error(); }).join();
  EXPECT_EQ(elsewhere, "");
  EXPECT_STREQ(ragdot_last_error(), "gmm: first_group is -1; it must be 0 or more");
}

TEST(CAbi, ReadsOptions) {
  CGmm c;
  ragdot_options options{};
  options.struct_size = sizeof options;
  const ragdot_tiling tiling = {64, 0, 64};
  options.tiling = &tiling;
  EXPECT_EQ(ragdot_gmm(&c.c, &options), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("tiling is 64x0x64"));
  options.tiling = nullptr;
  options.kernel = "abacus";
  EXPECT_EQ(ragdot_gmm(&c.c, &options), RAGDOT_UNSUPPORTED);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("abacus"));
  options.kernel = nullptr;
  options.threads = -1;
  EXPECT_EQ(ragdot_gmm(&c.c, &options), RAGDOT_INVALID_ARGUMENT);
  options.threads = 0;
  options.strictness = RAGDOT_STRICT;
  c.memory.lhs_scales[0] = -1;
  EXPECT_EQ(ragdot_gmm(&c.c, &options), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("lhs scales [0, 0] is -1"));
  EXPECT_TRUE(c.memory.untouched());
}

struct Counter {
  int runs = 0;
};
void run_backwards(void* context, int32_t tasks, void (*task)(void*, int32_t), void* task_context) {
  ++static_cast<Counter*>(context)->runs;
  for (int32_t i = tasks; i-- > 0;) task(task_context, i);
}
int32_t three(void*) { return 3; }

ragdot_options own_executor(Counter& counter) {
  ragdot_options options{};
  options.struct_size = sizeof options;
  options.run = run_backwards;
  options.concurrency = three;
  options.executor_context = &counter;
  return options;
}

/// Tiles so small that several tasks have work.
constexpr ragdot_tiling kSmall = {1, 32, 1};

TEST(CAbi, RunsOnTheCallersExecutor) {
  Counter counter;
  ragdot_options options = own_executor(counter);
  options.tiling = &kSmall;
  CGmm c;
  ASSERT_EQ(ragdot_gmm(&c.c, &options), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(c.memory.out, expected<CGmm>());
  EXPECT_EQ(counter.runs, 1);
  options.concurrency = nullptr;
  EXPECT_EQ(ragdot_gmm(&c.c, &options), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_gmm: options.concurrency is null; an executor needs both run and concurrency");
}

void run_and_throw(void*, int32_t, void (*)(void*, int32_t), void*) { throw std::runtime_error("the pool is gone"); }
void run_and_throw_nothing_known(void*, int32_t, void (*)(void*, int32_t), void*) { throw 7; }
void run_out_of_memory(void*, int32_t, void (*)(void*, int32_t), void*) { throw std::bad_alloc(); }

TEST(CAbi, LetsNoExceptionPass) {
  Counter counter;
  ragdot_options options = own_executor(counter);
  options.tiling = &kSmall;
  CGmm c;
  options.run = run_and_throw;
  EXPECT_EQ(ragdot_gmm(&c.c, &options), RAGDOT_FAILED);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_gmm: the pool is gone");
  options.run = run_and_throw_nothing_known;
  EXPECT_EQ(ragdot_gmm(&c.c, &options), RAGDOT_FAILED);
  EXPECT_THAT(ragdot_last_error(), StartsWith("ragdot_gmm: "));
  options.run = run_out_of_memory;
  EXPECT_EQ(ragdot_gmm(&c.c, &options), RAGDOT_OUT_OF_MEMORY);
  EXPECT_STRNE(ragdot_last_error(), "");
}

TEST(CAbi, PlansAndRuns) {
  Counter counter;
  CGmm g;
  ragdot_plan* plan = nullptr;
  {
    ragdot_options options = own_executor(counter);
    options.tiling = &kSmall;
    ASSERT_EQ(ragdot_plan_gmm(&g.c, &options, &plan), RAGDOT_OK) << ragdot_last_error();
  }
  EXPECT_THAT(ragdot_plan_describe(plan), HasSubstr(ragdot_plan_kernel(plan)));
  EXPECT_GE(ragdot_plan_tiling(plan).tm, 1);
  std::vector<std::byte> workspace(ragdot_plan_workspace_bytes(plan));
  ASSERT_EQ(ragdot_run_gmm(plan, &g.c, workspace.data(), workspace.size()), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(g.memory.out, expected<CGmm>());
  EXPECT_EQ(counter.runs, 1);
  g.memory.out.fill(Buffers::kUntouched);
  EXPECT_EQ(ragdot_run_gmm(plan, &g.c, workspace.data(), workspace.size() - 1), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(ragdot_run_gmm(plan, &g.c, nullptr, workspace.size()), RAGDOT_INVALID_ARGUMENT);
  void* const out = g.c.out.data;
  g.c.out.data = workspace.data();
  EXPECT_EQ(ragdot_run_gmm(plan, &g.c, workspace.data(), workspace.size()), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("give it memory of its own"));
  g.c.out.data = out;
  CTgmm t;
  EXPECT_EQ(ragdot_run_tgmm(plan, &t.c, workspace.data(), workspace.size()), RAGDOT_INVALID_ARGUMENT);
  EXPECT_TRUE(g.memory.untouched());
  EXPECT_TRUE(t.memory.untouched());
  ragdot_plan_free(plan);
}

TEST(CAbi, PlansAndRunsTgmm) {
  CTgmm t;
  ragdot_plan* plan = nullptr;
  ASSERT_EQ(ragdot_plan_tgmm(&t.c, nullptr, &plan), RAGDOT_OK) << ragdot_last_error();
  std::vector<std::byte> workspace(ragdot_plan_workspace_bytes(plan));
  ASSERT_EQ(ragdot_run_tgmm(plan, &t.c, workspace.data(), workspace.size()), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(t.memory.out, expected<CTgmm>());
  ragdot_plan_free(plan);
}

TEST(CAbi, TakesNullHandles) {
  CGmm g;
  EXPECT_EQ(ragdot_plan_gmm(&g.c, nullptr, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_plan_gmm: plan is null; give the address of a ragdot_plan pointer");
  EXPECT_EQ(ragdot_run_gmm(nullptr, &g.c, nullptr, 0), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_run_gmm: plan is null; make one first");
  EXPECT_EQ(ragdot_pack_rhs(nullptr, nullptr, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_pack_rhs: rhs is null; give its address");
  ragdot_plan_free(nullptr);
  ragdot_packed_free(nullptr);
  EXPECT_EQ(ragdot_plan_workspace_bytes(nullptr), 0U);
  EXPECT_STREQ(ragdot_plan_describe(nullptr), "");
  const ragdot_tiling none = ragdot_plan_tiling(nullptr);
  EXPECT_EQ(none.tm + none.tk + none.tn, 0);
  EXPECT_STREQ(ragdot_plan_kernel(nullptr), "");
  EXPECT_EQ(ragdot_plan_tiling(nullptr).tm, 0);
  EXPECT_EQ(ragdot_packed_size_bytes(nullptr), 0U);
  EXPECT_STREQ(ragdot_packed_describe(nullptr), "");
}

TEST(CAbi, PacksNoWeightsBeyondTheAddressSpace) {
  CGmm c;
  ragdot_packed_rhs* packed = nullptr;
  c.c.rhs.values.data = reinterpret_cast<const void*>(INT64_MAX);
  EXPECT_EQ(ragdot_pack_rhs(&c.c.rhs, nullptr, &packed), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("beyond the address space"));
  c.c.rhs.values.data = nullptr;
  EXPECT_EQ(ragdot_pack_rhs(&c.c.rhs, nullptr, &packed), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "pack_rhs: rhs [3, 8, 4]: data is null; give it");
  EXPECT_EQ(packed, nullptr);
}

TEST(CAbi, PackingRefusesInItsOwnName) {
  CGmm c;
  ragdot_packed_rhs* packed = nullptr;
  const auto says = [&](const ragdot_operand& rhs, const char* sentence) {
    EXPECT_NE(ragdot_pack_rhs(&rhs, nullptr, &packed), RAGDOT_OK);
    EXPECT_THAT(ragdot_last_error(), HasSubstr(sentence));
  };
  ragdot_operand rhs{};
  says(rhs, "pack_rhs: rhs is absent");
  rhs.values = ragdot_const_matrices(c.c.rhs.values.data, RAGDOT_F16, 3, 8, 4);
  says(rhs, "pack_rhs: rhs is f16; give bf16, e4m3, e5m2, f32 or i8, which gmm takes");
  rhs = c.c.rhs;
  rhs.values.row_stride = 33;
  rhs.values.col_stride = 2;
  says(rhs, "pack_rhs: rhs [3, 8, 4]");
  rhs = {};
  rhs.values = ragdot_const_matrices(nullptr, RAGDOT_BF16, INT64_C(1) << 50, 8, 0);  // no element, and tables of 2^50 groups
  says(rhs, "pack_rhs: rhs has 1125899906842624 matrices; give fewer than 2^50");
  EXPECT_EQ(packed, nullptr);
}

TEST(CAbi, PackingValuesSaysWhatToChange) {
  std::byte memory[1024];
  const auto says = [&](const ragdot_const_view* rhs, void* to, std::size_t bytes, const char* sentence) {
    EXPECT_NE(ragdot_pack_values(rhs, nullptr, to, bytes), RAGDOT_OK);
    EXPECT_STREQ(ragdot_last_error(), sentence);
  };
  says(nullptr, memory, 0, "ragdot_pack_values: rhs is null; give its address");
  ragdot_const_view rhs = ragdot_const_matrices(memory, RAGDOT_E4M3, 2, 4, 48);
  says(&rhs, memory, 384, "pack_values: rhs [2, 4, 48]; N must be a multiple of 32, pack_rhs takes any");
  rhs = ragdot_const_matrices(memory, RAGDOT_E4M3, 2, 4, 32);
  says(&rhs, memory + 512, 255, "pack_values: rhs [2, 4, 32] of e4m3 takes 256 bytes, not 255");
  says(&rhs, memory + 255, 256, "pack_values: rhs [2, 4, 32] overlaps to; give to memory of its own");
  says(&rhs, nullptr, 256, "pack_values: to [2, 4, 32]: data is null; give it");
  rhs.col_stride = 2;
  rhs.row_stride = 64;
  rhs.batch_stride = 256;
  says(&rhs, memory + 512, 256,
       "pack_values: rhs [2, 4, 32] has strides [256, 64, 2]; the row or the column stride must be 1, copy it into a dense "
       "matrix");
  rhs = ragdot_const_matrices(memory, RAGDOT_F16, 2, 4, 32);
  says(&rhs, memory + 512, 512, "pack_values: rhs is f16; give bf16, e4m3, e5m2, f32 or i8, which gmm takes");
  rhs = ragdot_const_matrices(nullptr, RAGDOT_BF16, INT64_C(1) << 50, 8, 0);
  says(&rhs, nullptr, 0, "pack_values: rhs has 1125899906842624 matrices; give fewer than 2^50");
  rhs = ragdot_const_matrices(nullptr, RAGDOT_BF16, 3, 8, 0);
  EXPECT_EQ(ragdot_pack_values(&rhs, nullptr, nullptr, 0), RAGDOT_OK);
}

TEST(CAbi, ProductsOfPackedValuesSayWhatToChange) {
  CGmm c;
  const auto says = [&](const char* sentence) {
    EXPECT_EQ(ragdot_gmm(&c.c, nullptr), RAGDOT_INVALID_ARGUMENT);
    EXPECT_STREQ(ragdot_last_error(), sentence);
  };
  c.c.rhs_layout = 2;
  says("gmm: rhs_layout is 2; it must be 0 (strided) or 1 (packed)");
  ragdot_packed_rhs* packed = nullptr;
  ASSERT_EQ(ragdot_pack_rhs(&c.c.rhs, nullptr, &packed), RAGDOT_OK) << ragdot_last_error();
  const ragdot_operand rhs = c.c.rhs;
  c.c.rhs = {};
  c.c.packed_rhs = packed;
  says("gmm: rhs_layout is 2; it must be 0 (strided) or 1 (packed)");
  ragdot_packed_free(packed);
  c.c.packed_rhs = nullptr;
  c.c.rhs = rhs;
  c.c.rhs_layout = RAGDOT_RHS_PACKED;
  says("gmm: rhs [3, 8, 4] is packed; N must be a multiple of 32, pack_rhs takes any");
  EXPECT_EQ(ragdot_gmm_exact_and_bound(&c.c, nullptr, nullptr, 0), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "exact_and_bound: rhs is packed; give the rhs that it was packed from");
  c.c.rhs.values = ragdot_const_matrices(c.c.out.data, c.c.rhs.values.format, 1, 8, 0);
  c.c.rhs.values.cols = -32;
  says("gmm: rhs [1, 8, -32]: no dimension may be negative");
  EXPECT_TRUE(c.memory.untouched());
}

TEST(CAbi, PacksWeights) {
  CGmm c;
  ragdot_packed_rhs* packed = nullptr;
  ASSERT_EQ(ragdot_pack_rhs(&c.c.rhs, nullptr, &packed), RAGDOT_OK) << ragdot_last_error();
  EXPECT_GE(ragdot_packed_size_bytes(packed), 3U * 8 * 4);
  EXPECT_THAT(ragdot_packed_describe(packed), HasSubstr("e4m3"));
  c.c.packed_rhs = packed;
  EXPECT_EQ(ragdot_gmm(&c.c, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "gmm: both rhs and packed_rhs are given; give one of them");
  EXPECT_TRUE(c.memory.untouched());
  c.c.rhs.values = {};  // its scales are still there
  EXPECT_EQ(ragdot_gmm(&c.c, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "gmm: both rhs and packed_rhs are given; give one of them");
  c.c.rhs = {};
  ASSERT_EQ(ragdot_gmm(&c.c, nullptr), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(c.memory.out, expected<CGmm>());
  ragdot_packed_free(packed);
}

TEST(CAbi, HasTheNumbersOfTheCppInterface) {
  EXPECT_EQ(fmt::format("{}.{}.{}", RAGDOT_VERSION_MAJOR, RAGDOT_VERSION_MINOR, RAGDOT_VERSION_PATCH), ragdot_version());
  EXPECT_EQ(RAGDOT_PACKED_COLS, kPackedCols);
  EXPECT_EQ(RAGDOT_MOST_THREADS, kMostThreads);
}

TEST(CAbi, ListsKernels) {
  const std::vector<KernelInfo> kernels = list_kernels();
  ASSERT_EQ(static_cast<std::size_t>(ragdot_kernel_count()), kernels.size());
  for (int32_t i = 0; i < ragdot_kernel_count(); ++i) {
    ragdot_kernel_info info{};
    info.struct_size = sizeof info;
    ASSERT_EQ(ragdot_kernel(i, &info), RAGDOT_OK);
    EXPECT_EQ(info.name, kernels[static_cast<std::size_t>(i)].name);
    EXPECT_EQ(info.reason, kernels[static_cast<std::size_t>(i)].reason);
    EXPECT_EQ(info.usable != 0, kernels[static_cast<std::size_t>(i)].usable);
  }
  ragdot_kernel_info info{sizeof(size_t) + sizeof(const char*), nullptr, nullptr, -7};
  EXPECT_EQ(ragdot_kernel(0, &info), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(info.name, nullptr);
  info.struct_size = sizeof info;
  EXPECT_EQ(ragdot_kernel(ragdot_kernel_count(), &info), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(ragdot_kernel(-1, &info), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(info.usable, -7);
  EXPECT_EQ(ragdot_kernel(0, nullptr), RAGDOT_INVALID_ARGUMENT);
}

TEST(CAbi, ForcesKernels) {
  EXPECT_EQ(ragdot_force_kernel("abacus"), RAGDOT_UNSUPPORTED);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("\"abacus\""));
  EXPECT_EQ(ragdot_force_kernel("portable"), RAGDOT_OK);
  CGmm c;
  ragdot_plan* plan = nullptr;
  ASSERT_EQ(ragdot_plan_gmm(&c.c, nullptr, &plan), RAGDOT_OK);
  EXPECT_STREQ(ragdot_plan_kernel(plan), "portable");
  ragdot_plan_free(plan);
  EXPECT_EQ(ragdot_force_kernel(nullptr), RAGDOT_OK);
}

}  // namespace
}  // namespace ragdot::api
