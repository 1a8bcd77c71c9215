// The reduction order's bits, looked at in some outputs: each at most once, and behind what follows the product.
#include "testing/compare.hpp"

#include <gtest/gtest.h>

#include "testing/verify.hpp"

namespace ragdot::testing {
namespace {

Problem problem_of(const std::string& text) { return parse_problem(text).value(); }

TEST(OrderSamples, EveryOutputIsLookedAtOnceWhereThereAreFew) {
  EXPECT_EQ(verify(problem_of("gmm g=1 m=2 k=4 n=2")).order_checked, 4);
  EXPECT_EQ(verify(problem_of("gmm g=2 m=10 k=4 n=5 dist=sizes:3,4")).order_checked, 35) << "rows of no group have no product";
  EXPECT_EQ(verify(problem_of("gmm g=1 m=50 k=4 n=50")).order_checked, 2000);
  EXPECT_EQ(verify(problem_of("tgmm g=1 m=0 k=0 n=5")).order_checked, 0);
  const Case c(problem_of("gmm g=1 m=40 k=4 n=50 out=f32"));
  Bytes out;
  ASSERT_TRUE(run(c, {}, out).ok());
  for (std::size_t i = 0; i < out.size(); i += 4) out[i] ^= std::byte{1};
  EXPECT_EQ(compare_with_order(c, out, 2000).wrong, 2000);
}

TEST(OrderSamples, SamplesAreDifferentOutputs) {
  const Case c(problem_of("gmm g=1 m=43 k=4 n=50 out=f32"));
  Bytes out;
  ASSERT_TRUE(run(c, {}, out).ok());
  std::int64_t found = 0;  // of one wrong output at a time
  for (std::size_t i = 0; i < out.size(); i += 4) {
    out[i] ^= std::byte{1};
    const Comparison order = compare_with_order(c, out, 2000);
    EXPECT_LE(order.wrong, 1);
    found += order.wrong;
    out[i] ^= std::byte{1};
  }
  EXPECT_EQ(found, 2000);
}

/// All kernels have the same wrong bit, within the error bound.
TEST(OrderSamples, ReachesBehindBiasReluAndAccumulation) {
  VerifyOptions options;
  options.compute = [](const Case& c, const Options& o, Bytes& out) {
    Status status = run(c, o, out);
    for (std::size_t i = 0; i + 3 < out.size(); i += 4) {
      if (out[i + 3] != std::byte{0}) out[i] ^= std::byte{1};  // relu's zeros have no neighbour within the bound
    }
    return status;
  };
  for (const char* rest :
       {"out=f32 bias=1", "out=f32 act=relu", "out=f32 bias=1 act=relu", "accumulate=1", "bias=1 accumulate=1"}) {
    const Problem problem =
        problem_of(std::string("gmm g=3 m=40 k=70 n=9 lhs=e4m3:1x32 rhs=e4m3:32x16 dist=sizes:9,0,31 ") + rest);
    const VerifyReport right = verify(problem);
    EXPECT_TRUE(right.ok) << right.failure;
    EXPECT_EQ(right.order_checked, 360) << rest;
    const VerifyReport wrong = verify(problem, options);
    EXPECT_NE(wrong.failure.find("are not those of the reduction order"), std::string::npos) << rest << wrong.failure;
  }
  EXPECT_EQ(verify(problem_of("gmm g=1 m=4 k=4 n=4 act=silu")).order_checked, 0);
}

TEST(OracleRows, SumsThatOverflowBesideAnInfMayBeNan) {
  const VerifyReport report = verify(problem_of("tgmm g=3 m=200 k=64 n=100 data=edges"));
  EXPECT_TRUE(report.ok) << report.failure;
}

}  // namespace
}  // namespace ragdot::testing
