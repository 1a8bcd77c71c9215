// Variables of the environment. They are read once, so each call here has a process of its own, one where nothing was called.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tests/cases.hpp"

namespace ragdot::suites {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::ExitedWithCode;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Environment : public ::testing::Test {
 protected:
  Environment() { ::testing::FLAGS_gtest_death_test_style = "threadsafe"; }

  /// Products of two groups, 12 x 130 x 20.
  GmmArgs args(const Grids& grids = gmm_grids().front()) {
    sample_ = make_gmm(grids, touching({5, 6}, 12, 130, 20), Data::mixed, 1);
    return sample_.gmm_args(sample_.lhs.operand(), sample_.rhs.operand(),
                            matrix(static_cast<void*>(out_.data()), Format::f32, 12, 20));
  }

 private:
  Sample sample_;
  std::vector<float> out_ = std::vector<float>(12 * 20);
};

/// A call with RAGDOT_KERNEL set to `kernel`, and another one when it has been unset: ends with their code, the sentence on
/// stderr.
[[noreturn]] void force(const char* kernel, const GmmArgs& args) {
  setenv("RAGDOT_KERNEL", kernel, 1);
  const Status first = gmm(args);
  unsetenv("RAGDOT_KERNEL");
  const Status second = gmm(args);
  std::fputs(second.message().c_str(), stderr);
  _exit(first.message() == second.message() ? static_cast<int>(first.code()) : 99);
}

TEST_F(Environment, ForcesAKernelForGood) {
  const auto refused = ExitedWithCode(static_cast<int>(Code::unsupported));
  EXPECT_EXIT(force("no_such_kernel", args()), refused,
              HasSubstr("kernel \"no_such_kernel\", which RAGDOT_KERNEL asks for, is unknown; take one of "));
  for (const KernelInfo& kernel : list_kernels()) {
    if (kernel.name != "avx512bf16") continue;
    EXPECT_EXIT(force("avx512bf16", args(Grids{"f32", Format::f32, Format::f32})), refused,
                EndsWith("; unset it, for the fastest that does"));
  }
  EXPECT_EXIT(force("", args()), ExitedWithCode(0), "");
}

/// Calls that need no variable, then one that would, with RAGDOT_KERNEL set in between.
[[noreturn]] void set_late(const GmmArgs& args, const Options& named) {
  const bool first = gmm(args, named).ok();
  setenv("RAGDOT_KERNEL", "no_such_kernel", 1);
  _exit(first && gmm(args).ok() ? 0 : 1);
}

TEST_F(Environment, IsThatOfTheFirstCall) {
  Options named;
  named.kernel = "portable";
  EXPECT_EXIT(set_late(args(), named), ExitedWithCode(0), "");
}

/// Plans with RAGDOT_VERBOSE set to `value`. Ends with 0 where the plan's own words were written, 2 where nothing was.
[[noreturn]] void plan_aloud(const char* value, const GmmArgs& args, const Options& options) {
  setenv("RAGDOT_VERBOSE", value, 1);
  ::testing::internal::CaptureStderr();
  const auto plan = make_plan(args, options);
  const std::string text = ::testing::internal::GetCapturedStderr();
  std::fputs(text.c_str(), stderr);
  _exit(text.empty() ? 2 : text == "ragdot: " + plan.value().describe() + "\n" ? 0 : 1);
}

TEST_F(Environment, AsksPlansToPrintWhyOtherKernelsWereNotTaken) {
  Options last;
  last.kernel = "portable";
  EXPECT_EXIT(plan_aloud("1", args(), last), ExitedWithCode(0),
              AllOf(StartsWith("ragdot: gmm g=2 m=12 k=130 n=20"), HasSubstr(": kernel portable, tile ")));
  for (const KernelInfo& kernel : list_kernels()) {
    if (kernel.name == "portable") break;
    const std::string not_this = "\n  not " + kernel.name + ": ";
    EXPECT_EXIT(plan_aloud("1", args(), last), ExitedWithCode(0), HasSubstr(not_this + "portable is forced"));
    if (kernel.usable) {  // the first of them is taken, and the others are not asked
      EXPECT_EXIT(plan_aloud("1", args(), {}), ExitedWithCode(0),
                  AllOf(HasSubstr(": kernel " + kernel.name + ", "), Not(HasSubstr(not_this))));
      break;
    }
    EXPECT_EXIT(plan_aloud("1", args(), {}), ExitedWithCode(0), HasSubstr(not_this + kernel.reason));
  }
  for (const char* value : {"0", ""}) EXPECT_EXIT(plan_aloud(value, args(), {}), ExitedWithCode(2), "") << value;
}

}  // namespace
}  // namespace ragdot::suites
