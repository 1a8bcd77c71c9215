// Every allocation failing in turn: the call says so or does without, nothing is half written, lost or broken for the next
// call. Each failure has a process of its own, in which the call is the first use of the library.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <thread>

#include "ragdot/ragdot.h"
#include "tests/one_thread.hpp"
#include "tests/promises/child.hpp"
#include "tests/promises/failing_memory.hpp"
#include "tests/sample.hpp"

namespace ragdot::suites {
namespace {

/// One call: what it returned, into `out`, which held kFill before. `prepare` runs while there is memory.
struct FailingCall {
  const char* name;
  std::function<int(std::vector<std::byte>& out)> run;
  std::function<void()> prepare = [] {};
};
constexpr std::byte kFill{0xcd};

/// What went wrong in a child process, as its exit code.
enum Verdict {
  fine = 0,
  no_failure_left,
  other_code,
  half_written,
  threw,
  next_call_refused,
  next_call_differs,
  leaked,
};
constexpr const char* kVerdicts[] = {"",
                                     "",
                                     "the code is neither ok nor out_of_memory",
                                     "out is neither untouched nor complete",
                                     "an exception came out",
                                     "the next call was refused",
                                     "the next call has other bits",
                                     "memory was lost"};
constexpr int kOk = static_cast<int>(Code::ok);
constexpr int kOutOfMemory = static_cast<int>(Code::out_of_memory);
constexpr std::size_t kOutBytes = 65 * 200 * 4;

/// Runs the call with a failure. Sets `reached` where the call got as far as that.
Verdict fail_once(const FailingCall& call, std::int64_t number, FailingMemory::Which which, bool& reached) {
  std::vector<std::byte> out(kOutBytes, kFill);
  std::vector<std::byte> again(kOutBytes, kFill);
  const std::vector<std::byte> untouched = out;
  int code = 0;
  bool has_thrown = false;
  call.prepare();
  {
    const FailingMemory memory(number, which);
    try {
      code = call.run(out);
    } catch (...) {
      has_thrown = true;
    }
  }
  reached = FailingMemory::has_failed();
  if (has_thrown) return threw;
  if (code != kOk && code != kOutOfMemory) return other_code;
  if (code == kOutOfMemory && out != untouched) return half_written;
  if (call.run(again) != kOk) return next_call_refused;
  if (code == kOk && out != again) return reached ? half_written : next_call_differs;
  return fine;
}

/// The same failure twice more: the second time nothing that is kept between calls is new.
Verdict look_for_leaks(const FailingCall& call, std::int64_t number, FailingMemory::Which which) {
  bool reached = false;
  if (Verdict v = fail_once(call, number, which, reached); v != fine) return v;
  const std::int64_t before = live_allocations();
  if (Verdict v = fail_once(call, number, which, reached); v != fine) return v;
  return live_allocations() == before ? fine : leaked;
}

/// All failures of one call; returns how many there are.
std::int64_t fail_in_turn(const FailingCall& call, FailingMemory::Which which, bool counts_leaks) {
  for (std::int64_t number = 0;; ++number) {
    const int verdict = in_child(60, [&] {
      bool reached = false;
      const Verdict v = fail_once(call, number, which, reached);
      if (v != fine) return v;
      if (!reached) return no_failure_left;
      return counts_leaks ? look_for_leaks(call, number, which) : fine;
    });
    if (verdict == no_failure_left) return number;
    const char* mode = which == FailingMemory::Which::one ? "" : " and all behind it";
    const std::string what = verdict < 0 ? "killed by signal " + std::to_string(-verdict) : kVerdicts[verdict];
    EXPECT_EQ(verdict, fine) << call.name << ": allocation " << number << mode << " failed: " << what;
    if (testing::Test::HasFailure()) return number;
  }
}

void expect_survival(const FailingCall& call, bool counts_leaks) {
  for (const auto which : {FailingMemory::Which::one, FailingMemory::Which::all_behind}) {
    const std::int64_t failures = fail_in_turn(call, which, counts_leaks);
    EXPECT_GT(failures, 0) << call.name << " allocates nothing, so this test proves nothing";
  }
}

const Sample& forward() {
  static const Sample kSample = make_gmm(gmm_grids().front(), touching({5, 60}, 65, 130, 200), Data::mixed, 1);
  return kSample;
}
const Sample& backward() {
  static const Sample kSample = make_tgmm(tgmm_grids().front(), touching({5, 60}, 65, 30, 90), Data::mixed, 1);
  return kSample;
}

Options options_on(Executor* executor) {
  Options options;
  options.executor = executor;
  options.threads = 3;
  options.tiling = Tiling{16, 64, 64};
  return options;
}

int run_gmm(std::vector<std::byte>& out, const Options& options) {
  const Sample& s = forward();
  const View view = matrix(static_cast<void*>(out.data()), Format::f32, 65, 200);
  return static_cast<int>(gmm(s.gmm_args(s.lhs.operand(), s.rhs.operand(), view), options).code());
}
int run_tgmm(std::vector<std::byte>& out, const Options& options) {
  const Sample& s = backward();
  const View view = matrices(static_cast<void*>(out.data()), Format::f32, 2, 30, 90);
  return static_cast<int>(tgmm(s.tgmm_args(s.lhs.operand(), s.rhs.operand(), view), options).code());
}
int run_packed(std::vector<std::byte>& out, const Options& options) {
  const Sample& s = forward();
  const Result<PackedRhs> packed = pack_rhs(s.rhs.operand(), options);
  if (!packed.ok()) return static_cast<int>(packed.status().code());
  GmmArgs args = s.gmm_args(s.lhs.operand(), {}, matrix(static_cast<void*>(out.data()), Format::f32, 65, 200));
  args.packed_rhs = packed.value();
  return static_cast<int>(gmm(args, options).code());
}
int run_pack_values(std::vector<std::byte>& out, const Options& options) {
  ConstView rhs = forward().rhs.operand().values;
  rhs.cols = 6 * kPackedCols;
  const auto bytes = static_cast<std::size_t>(rhs.batch * rhs.rows * rhs.cols * element_bytes(rhs.format));
  return static_cast<int>(pack_values(rhs, std::span(out).first(bytes), options).code());
}
int run_planned(std::vector<std::byte>& out, const Options& options) {
  const Sample& s = forward();
  const GmmArgs args =
      s.gmm_args(s.lhs.operand(), s.rhs.operand(), matrix(static_cast<void*>(out.data()), Format::f32, 65, 200));
  const Result<Plan> plan = make_plan(args, options);
  if (!plan.ok()) return static_cast<int>(plan.status().code());
  static std::vector<std::byte> workspace;
  try {
    workspace.resize(plan.value().workspace_bytes());
  } catch (const std::bad_alloc&) {  // the caller's own
    return kOutOfMemory;
  }
  return static_cast<int>(run(plan.value(), args, workspace).code());
}
int run_quantisers(std::vector<std::byte>& out, const Options& options) {
  const ConstView input = matrix(static_cast<const void*>(forward().lhs.values.data()), Format::bf16, 40, 60);
  const auto copy = [](std::byte* at) {
    return QuantizedOut{matrix(static_cast<void*>(at), Format::e4m3, 40, 60),
                        {matrix(static_cast<void*>(at + 2400), Format::f32, 5, 8), 8, 8}};
  };
  const QuantizedOut first = copy(out.data());
  QuantizedOut second = copy(out.data() + 2600);
  second.values.row_stride = 1;
  second.values.col_stride = 40;
  return static_cast<int>(quantize_both({input, std::nullopt, first, second}, options).code());
}
int run_way_back(std::vector<std::byte>& out, const Options& options) {
  const DenseOperand& lhs = forward().lhs;
  const Operand input = {matrix(static_cast<const void*>(lhs.values.data()), Format::e4m3, 40, 60),
                         {matrix(static_cast<const void*>(lhs.scales.data()), Format::f32, 5, 8), 8, 8, ScaleOrigin::global}};
  return static_cast<int>(
      dequantize({input, std::nullopt, matrix(static_cast<void*>(out.data()), Format::bf16, 40, 60)}, options).code());
}
int run_refused(std::vector<std::byte>& out, const Options& options) {
  const Sample& s = forward();
  GmmArgs args = s.gmm_args(s.lhs.operand(), s.rhs.operand(), matrix(static_cast<void*>(out.data()), Format::f32, 65, 200));
  args.lhs.values.cols = 129;
  const Status status = gmm(args, options);
  return status.code() == Code::invalid_argument ? kOk : static_cast<int>(status.code());
}

using Runs = int (*)(std::vector<std::byte>&, const Options&);
struct NamedCall {
  const char* name;
  Runs run;
};
constexpr NamedCall kCalls[] = {
    {"gmm", run_gmm},      {"tgmm", run_tgmm},           {"pack_rhs", run_packed},     {"pack_values", run_pack_values},
    {"plan", run_planned}, {"quantise", run_quantisers}, {"dequantise", run_way_back}, {"a refused call", run_refused}};

/// The samples are made before memory fails.
class Failures : public testing::TestWithParam<NamedCall> {
 protected:
  void SetUp() override { (void)forward(), (void)backward(); }
};
INSTANTIATE_TEST_SUITE_P(All, Failures, testing::ValuesIn(kCalls), [](const auto& of) {
  std::string text = of.param.name;
  std::replace(text.begin(), text.end(), ' ', '_');
  return text;
});

TEST_P(Failures, OnTheCallingThread) {
  OneThread one;
  expect_survival({GetParam().name, [&](auto& out) { return GetParam().run(out, options_on(&one)); }}, true);
}

TEST_P(Failures, OnOwnThreads) {
  expect_survival({GetParam().name, [](auto& out) { return GetParam().run(out, options_on(&thread_executor())); }}, true);
}

/// oneTBB has its threads before memory fails, as it does not survive its own start without; it keeps memory between calls.
TEST_P(Failures, OnTbb) {
  const auto start_tbb = [] {
    tbb_executor().run(8, [](void*, int) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }, nullptr);
  };
  expect_survival({GetParam().name, [](auto& out) { return GetParam().run(out, options_on(&tbb_executor())); }, start_tbb},
                  false);
}

/// The C interface: a code and a sentence, and handles that are freed or never made.
TEST(FailuresOfC, ProductsAndPlans) {
  const Sample& s = forward();
  const auto c_view = [](const ConstView& v) {
    return ragdot_const_view{v.data,      static_cast<int32_t>(v.format), v.batch, v.rows, v.cols, v.batch_stride, v.row_stride,
                             v.col_stride};
  };
  const auto c_operand = [&](const Operand& o) {
    return ragdot_operand{c_view(o.values), {c_view(o.scales.view), o.scales.block_rows, o.scales.block_cols, 0}};
  };
  const FailingCall call = {"C", [&](std::vector<std::byte>& out) {
                              ragdot_gmm_args args = {};
                              args.struct_size = sizeof args;
                              args.lhs = c_operand(s.lhs.operand());
                              args.rhs = c_operand(s.rhs.operand());
                              args.groups = {RAGDOT_STARTS_AND_SIZES, RAGDOT_INDEX_I64, s.starts.data(), s.sizes.data(), 2};
                              args.out = ragdot_matrix(out.data(), RAGDOT_F32, 65, 200, 0);
                              ragdot_options options = {};
                              options.struct_size = sizeof options;
                              options.threads = 1;
                              ragdot_packed_rhs* packed = nullptr;
                              int code = ragdot_pack_rhs(&args.rhs, &options, &packed);
                              if (code == RAGDOT_OK) {
                                args.rhs = {};
                                args.packed_rhs = packed;
                                ragdot_plan* plan = nullptr;
                                code = ragdot_plan_gmm(&args, &options, &plan);
                                if (code == RAGDOT_OK) code = ragdot_gmm(&args, &options);
                                ragdot_plan_free(plan);
                              }
                              ragdot_packed_free(packed);
                              if (code != RAGDOT_OK && *ragdot_last_error() == '\0') return 100;
                              return code;
                            }};
  expect_survival(call, true);
}

}  // namespace
}  // namespace ragdot::suites
