// The GPU's layouts of XLA's dense arrays, as the library's own rules take them.
#include "jax/cuda_args.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>

namespace ragdot::jax {
namespace {

void* const kNowhere = nullptr;
constexpr std::int64_t kRows = 256;
constexpr std::int64_t kInner = 384;
constexpr std::int64_t kOuter = 128;
constexpr std::int64_t kGroups = 3;

TEST(CudaArgs, GroupsAreStartsAndThenSizes) {
  const std::array<std::int64_t, 2 * kGroups> spans{};
  const auto* base = reinterpret_cast<const std::byte*>(spans.data());
  const ragdot_groups narrow = c_groups(spans.data(), false, kGroups);
  EXPECT_EQ(narrow.kind, RAGDOT_STARTS_AND_SIZES);
  EXPECT_EQ(narrow.index, RAGDOT_INDEX_I32);
  EXPECT_EQ(narrow.data, base);
  EXPECT_EQ(narrow.sizes, base + 4 * kGroups);
  const ragdot_groups wide = c_groups(spans.data(), true, kGroups);
  EXPECT_EQ(wide.index, RAGDOT_INDEX_I64);
  EXPECT_EQ(wide.sizes, base + 8 * kGroups);
  EXPECT_EQ(wide.count, kGroups);
}

TEST(CudaArgs, ScalesKeepTheirGrid) {
  const Scales scales{matrix(kNowhere, Format::f32, 5, kInner), 128, 1, ScaleOrigin::per_group};
  const ragdot_operand operand = c_operand(ConstView(matrix(kNowhere, Format::e4m3, kInner, kRows)).transposed(), scales);
  EXPECT_EQ(operand.values.format, RAGDOT_E4M3);
  EXPECT_EQ(operand.values.rows, kRows);
  EXPECT_EQ(operand.values.row_stride, 1);
  EXPECT_EQ(operand.values.col_stride, kRows);
  EXPECT_EQ(operand.scales.view.rows, 5);
  EXPECT_EQ(operand.scales.block_rows, 128);
  EXPECT_EQ(operand.scales.block_cols, 1);
  EXPECT_EQ(operand.scales.origin, RAGDOT_ORIGIN_PER_GROUP);
  EXPECT_EQ(c_operand({}, {}).scales.view.format, RAGDOT_NONE);
}

TEST(CudaArgs, WeightsStoredByColumnAreTaken) {
  Operand weights = matrices(kNowhere, Format::e4m3, kGroups, kOuter, kInner);
  weights.scales = {matrices(kNowhere, Format::f32, kGroups, 1, kInner / 128), 128, 128, ScaleOrigin::global};
  const Operand turned = weights.transposed();
  ragdot_gmm_args args{};
  args.struct_size = sizeof args;
  args.lhs = c_operand(matrix(kNowhere, Format::e4m3, kRows, kInner),
                       {matrix(kNowhere, Format::f32, kRows, kInner / 128), 1, 128, ScaleOrigin::global});
  args.rhs = c_operand(turned.values, turned.scales);
  const std::array<std::int32_t, 2 * kGroups> spans = {};
  args.groups = c_groups(spans.data(), false, kGroups);
  args.out = c_view(matrix(kNowhere, Format::bf16, kRows, kOuter));
  std::size_t bytes = 0;
  EXPECT_EQ(ragdot_cuda_gmm_workspace_bytes(&args, nullptr, &bytes), RAGDOT_OK) << ragdot_last_error();
  args.rhs = c_operand(weights.values, weights.scales);
  EXPECT_NE(ragdot_cuda_gmm_workspace_bytes(&args, nullptr, &bytes), RAGDOT_OK);
}

}  // namespace
}  // namespace ragdot::jax
