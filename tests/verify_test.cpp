// The check that users run, on small problems of every kind; and mistakes in an answer, each of which it has to find.
#include "testing/verify.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "testing/presets.hpp"

namespace ragdot::testing {
namespace {

Problem problem_of(const std::string& text) {
  const auto problem = parse_problem(text);
  EXPECT_TRUE(problem.ok()) << problem.status().message();
  return problem.value();
}

class Verify : public ::testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(
    Problems, Verify,
    ::testing::Values("gmm g=4 m=150 k=200 n=70 lhs=e4m3:1x128 rhs=e4m3:128x128 dist=multinomial out=f32",
                      "gmm g=4 m=150 k=200 n=70 lhs=e4m3:1x128 rhs=e4m3:128x128 dist=multinomial",
                      "gmm g=3 m=90 k=130 n=33 lhs=bf16 rhs=bf16 dist=sizes:40,0,41 out=f16",
                      "dlhs g=4 m=150 k=70 n=200 lhs=e5m2:1x128 rhs=e4m3:128x128 dist=multinomial out=f32",
                      "gmm g=4 m=150 k=200 n=70 lhs=e4m3:1x32 rhs=e4m3:32x1 scale=e8m0 recipe=mx out=f32",
                      "gmm g=4 m=150 k=200 n=70 lhs=e4m3:1x* rhs=e4m3:*x1 bias=1 act=gelu_erf out=f32",
                      "gmm g=4 m=150 k=200 n=70 lhs=e4m3:1x128 rhs=e4m3:128x128 bias=1 act=tanh out=f32 dist=zipf:1.1",
                      "gmm g=4 m=150 k=200 n=70 lhs=e4m3:1x128 rhs=e4m3:128x128 accumulate=1 dist=sizes:70,0,1,60",
                      "gmm g=5 m=150 k=100 n=40 lhs=e4m3:1x128 rhs=e4m3:128x128 first=1 local=3 rows_outside=leave out=f32",
                      "gmm g=4 m=150 k=200 n=70 lhs=i8:1x64 rhs=i8:64x64 out=f32",
                      "gmm g=3 m=60 k=150 n=40 lhs=f32 rhs=f32 out=f32",
                      "gmm g=3 m=90 k=200 n=40 lhs=e4m3:1x64 rhs=e4m3:64x64 data=codes out=f32",
                      "tgmm g=3 m=300 k=40 n=30 lhs=e4m3:128x1 rhs=e4m3:128x1 dist=sizes:100,0,190",
                      "tgmm g=3 m=300 k=40 n=30 lhs=e4m3:128x1 rhs=e4m3:128x1 dist=sizes:100,0,190 origin=per_group",
                      "tgmm g=3 m=300 k=40 n=30 lhs=e4m3:13x5 rhs=e5m2:9x7 lscale=bf16 dist=sizes:100,7,190 data=spread",
                      "tgmm g=3 m=300 k=40 n=30 lhs=bf16 rhs=bf16 dist=sizes:100,7,190 accumulate=1",
                      "tgmm g=3 m=300 k=40 n=30 lhs=e4m3:128x1 rhs=e4m3:128x1 out=bf16 data=outlier"));

TEST_P(Verify, Holds) {
  const VerifyReport report = verify(problem_of(GetParam()));
  EXPECT_TRUE(report.ok) << report.failure << "\nreplay: ragdot verify " << report.problem;
  EXPECT_EQ(report.outputs_checked, report.outputs);
}

constexpr const char* kBlockwise = "gmm g=4 m=150 k=200 n=70 lhs=e4m3:1x128 rhs=e4m3:128x128 dist=sizes:40,0,70,30 out=f32";

/// Runs verify on answers that `spoil` has changed; `only` limits it to calls with that many threads.
VerifyReport verify_spoiled(void (*spoil)(const Case&, Bytes&), int only = -1) {
  VerifyOptions options;
  options.compute = [&](const Case& c, const Options& o, Bytes& out) {
    Status status = run(c, o, out);
    if (only < 0 || o.threads == only) spoil(c, out);
    return status;
  };
  return verify(problem_of(kBlockwise), options);
}

void change_one_output(const Case& c, Bytes& out) {
  float v = 0;
  std::byte* at = out.data() + (45 * c.out_cols() + 7) * 4;  // group 2
  std::memcpy(&v, at, 4);
  v *= 1.001F;
  std::memcpy(at, &v, 4);
}

void flip_last_bit(const Case&, Bytes& out) { out[0] ^= std::byte{1}; }
void write_outside(const Case& c, Bytes& out) { out[static_cast<std::size_t>(145 * c.out_cols() * 4)] = std::byte{1}; }
void leak_nan(const Case&, Bytes& out) { std::memset(out.data() + 400, 0xff, 4); }

TEST(VerifyFinds, AnErrorBeyondTheBoundWithItsPlace) {
  const VerifyReport report = verify_spoiled(change_one_output);
  EXPECT_FALSE(report.ok);
  EXPECT_NE(report.failure.find("(group 2, row 45, col 7)"), std::string::npos) << report.failure;
}

TEST(VerifyFinds, OneBitThatDependsOnTheThreads) {
  const VerifyReport report = verify_spoiled(flip_last_bit, 3);
  EXPECT_FALSE(report.ok);
  EXPECT_EQ(report.differing_bits, std::ssize(report.kernels));
  EXPECT_NE(report.failure.find("threads 3"), std::string::npos) << report.failure;
}

TEST(VerifyFinds, WritesOutsideTheGroupsAndNan) {
  EXPECT_NE(verify_spoiled(write_outside).failure.find("a row of no local group is not zero"), std::string::npos);
  EXPECT_FALSE(verify_spoiled(leak_nan).ok);
}

TEST(VerifyRefuses, WhatTheLibraryDoesNotTake) {
  const VerifyReport report = verify(problem_of("gmm g=1 m=1 k=1 n=1 lhs=f32 rhs=bf16"));
  EXPECT_NE(report.refusal, Code::ok);
  EXPECT_NE(report.failure.find("is not offered"), std::string::npos) << report.failure;
}

TEST(Presets, AllParseAndHaveTheirTilings) {
  for (const char* name : preset_names()) {
    const auto problems = preset(name);
    ASSERT_TRUE(problems.ok()) << problems.status().message();
    EXPECT_FALSE(problems.value().empty());
    for (const Preset& p : problems.value()) {
      const double flops =
          2.0 * static_cast<double>(p.problem.m) * static_cast<double>(p.problem.k) * static_cast<double>(p.problem.n);
      EXPECT_LE(flops, 50e9) << to_string(p.problem);
    }
  }
  EXPECT_EQ(preset_tilings("seed").size(), 18U);
  EXPECT_EQ(preset("sed").status().message(),
            "preset sed is unknown; did you mean seed? Known: smoke, seed, moe, mixed, decode, skew, quantize");
}

}  // namespace
}  // namespace ragdot::testing
