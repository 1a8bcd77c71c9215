// The C interface of the error bound: the numbers of the C++ calls, and a count that is too small.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ragdot/ragdot.h"
#include "ragdot/ragdot.hpp"

namespace ragdot::api {
namespace {

TEST(CAbiBound, IsTheCppBound) {
  EXPECT_EQ(ragdot_error_bound(3, 2, 128, 7), error_bound({3, 2, 128, 7}));
  EXPECT_GE(ragdot_error_bound(0, INT64_MAX, INT64_MAX, 7), 0) << "numbers whose sums pass 2^63";
  const float lhs[2][3] = {{1, 2, 3}, {4, 5, 6}};
  const float rhs[3][1] = {{1}, {10}, {100}};
  const std::int32_t size = 1;
  ragdot_gmm_args args{};
  args.struct_size = sizeof args;
  args.lhs.values = ragdot_const_matrix(lhs, RAGDOT_F32, 2, 3, 0);
  args.rhs.values = ragdot_const_matrices(rhs, RAGDOT_F32, 1, 3, 1);
  args.groups.data = &size;
  args.groups.count = 1;
  args.out = ragdot_matrix(nullptr, RAGDOT_F32, 2, 1, 0);
  double exact[2] = {-1, -1};
  double bound[2] = {-1, -1};
  ASSERT_EQ(ragdot_gmm_exact_and_bound(&args, exact, bound, 2), RAGDOT_OK) << ragdot_last_error();
  EXPECT_THAT(exact, testing::ElementsAre(321, 0));
  EXPECT_GT(bound[0], 0);
  EXPECT_LT(bound[0], 1e-2);
  EXPECT_EQ(ragdot_gmm_exact_and_bound(&args, exact, nullptr, 1), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(ragdot_gmm_exact_and_bound(&args, exact, nullptr, -1), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_gmm_exact_and_bound: count is -1; it must be the number of outputs or more");
  EXPECT_EQ(ragdot_gmm_exact_and_bound(&args, exact, nullptr, 0), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_gmm_exact_and_bound: count is 0; give room for all outputs, or null pointers");
  EXPECT_EQ(ragdot_gmm_exact_and_bound(&args, nullptr, nullptr, 0), RAGDOT_OK);

  ragdot_tgmm_args weights{};
  weights.struct_size = sizeof weights;
  weights.lhs.values = ragdot_const_matrix(lhs, RAGDOT_F32, 2, 3, 0);
  weights.rhs.values = ragdot_const_matrix(rhs, RAGDOT_F32, 2, 1, 0);
  weights.groups = args.groups;
  weights.out = ragdot_matrices(nullptr, RAGDOT_F32, 1, 3, 1);
  double gradient[3] = {};
  ASSERT_EQ(ragdot_tgmm_exact_and_bound(&weights, gradient, nullptr, 3), RAGDOT_OK) << ragdot_last_error();
  EXPECT_THAT(gradient, testing::ElementsAre(1, 2, 3));
}

TEST(CAbiBound, AnswersAtOnceWhereThereIsNothing) {
  ragdot_gmm_args args{};
  args.struct_size = sizeof args;
  args.lhs.values = ragdot_const_matrix(nullptr, RAGDOT_F32, 1LL << 50, 0, 1);
  args.rhs.values = ragdot_const_matrices(nullptr, RAGDOT_F32, 0, 0, 0);
  args.out = ragdot_matrix(nullptr, RAGDOT_F32, 1LL << 50, 0, 1);
  EXPECT_EQ(ragdot_gmm_exact_and_bound(&args, nullptr, nullptr, 0), RAGDOT_OK) << ragdot_last_error();
  // Outputs that nobody asks for: more than a vector holds.
  const std::int32_t size = 0;
  args.groups.data = &size;
  args.groups.count = 1;
  args.lhs.values = ragdot_const_matrix(nullptr, RAGDOT_F32, 1, 0, 0);
  args.rhs.values = ragdot_const_matrices(nullptr, RAGDOT_F32, 1, 0, 1LL << 58);
  args.out = ragdot_matrix(nullptr, RAGDOT_F32, 1, 1LL << 58, 0);
  EXPECT_EQ(ragdot_gmm_exact_and_bound(&args, nullptr, nullptr, 0), RAGDOT_OK) << ragdot_last_error();
}

TEST(CAbiBound, RefusesSizesThatInt64CannotHold) {
  ragdot_gmm_args args{};
  args.struct_size = sizeof args;
  args.lhs.values = ragdot_const_matrix(nullptr, RAGDOT_F32, 1LL << 40, 0, 1);
  args.rhs.values = ragdot_const_matrix(nullptr, RAGDOT_F32, 0, 1LL << 40, 0);
  args.out = ragdot_matrix(nullptr, RAGDOT_F32, 1LL << 40, 1LL << 40, 0);
  double exact = -1;
  EXPECT_EQ(ragdot_gmm_exact_and_bound(&args, &exact, nullptr, 1), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(),
               "gmm: out [1099511627776, 1099511627776] of f32: 2^63 bytes or more; give smaller dimensions");
}

}  // namespace
}  // namespace ragdot::api
