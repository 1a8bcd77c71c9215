// The C interface of the GPU, down to a fake of the device half: what reaches it, and what is refused before.
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "cuda/gpu_calls.hpp"
#include "cuda/launch.hpp"
#include "ragdot/cuda.h"
#include "tests/cuda/fake_half.hpp"

extern "C" int ragdot_test_workspace(int64_t groups, size_t* bytes);

namespace ragdot::cuda {
namespace {

using testing::HasSubstr;
using testing::StrEq;

template <class CView, class V>
CView c_view(const V& v) {
  return {v.data, static_cast<int32_t>(v.format), v.batch, v.rows, v.cols, v.batch_stride, v.row_stride, v.col_stride};
}
ragdot_operand c_operand(const Operand& o) {
  return {c_view<ragdot_const_view>(o.values),
          {c_view<ragdot_const_view>(o.scales.view), o.scales.block_rows, o.scales.block_cols,
           static_cast<int32_t>(o.scales.origin)}};
}
ragdot_groups c_groups(const Groups& g) {
  return {static_cast<int32_t>(g.kind), static_cast<int32_t>(g.index), g.data, g.sizes, g.count};
}
ragdot_quantized_out c_out(const QuantizedOut& o) {
  return {c_view<ragdot_view>(o.values),
          {c_view<ragdot_view>(o.scales.view), o.scales.block_rows, o.scales.block_cols},
          static_cast<int32_t>(o.recipe)};
}

/// The legal calls of gpu_calls.hpp in C, and the fake that they reach.
class CudaCalls : public testing::Test {
 protected:
  static constexpr std::size_t kBytes = 1 << 20;

  CudaCalls() {
    const auto self = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libragdot_cuda.so";
    void* library = dlopen(self.c_str(), RTLD_NOW);
    fake_ = reinterpret_cast<FakeCalls* (*)()>(dlsym(library, "ragdot_fake_calls"))();
    *fake_ = {};

    const GpuGmm g;
    gmm_.struct_size = sizeof gmm_;
    gmm_.lhs = c_operand(g.args.lhs);
    gmm_.rhs = c_operand(g.args.rhs);
    gmm_.groups = c_groups(g.args.groups);
    gmm_.out = c_view<ragdot_view>(g.args.out);
    gmm_.first_group = g.args.first_group;
    const GpuTgmm t;
    tgmm_.struct_size = sizeof tgmm_;
    tgmm_.lhs = c_operand(t.args.lhs);
    tgmm_.rhs = c_operand(t.args.rhs);
    tgmm_.groups = c_groups(t.args.groups);
    tgmm_.out = c_view<ragdot_view>(t.args.out);
    const GpuQuantizeBoth q;
    groups_ = c_groups(*q.args.groups);
    both_.struct_size = sizeof both_;
    both_.input = c_view<ragdot_const_view>(q.args.input);
    both_.groups = &groups_;
    both_.row_wise = c_out(q.args.row_wise);
    both_.col_wise = c_out(q.args.col_wise);
    one_.struct_size = sizeof one_;
    one_.input = both_.input;
    one_.groups = &groups_;
    one_.out = both_.col_wise;
    options_.struct_size = sizeof options_;
  }

  static std::size_t gmm_bytes(std::int64_t local) { return static_cast<std::size_t>(maps_offset(Op::gmm, local)); }
  int gmm() { return ragdot_cuda_gmm(&gmm_, &options_, workspace_, kBytes); }
  int tgmm() { return ragdot_cuda_tgmm(&tgmm_, &options_, workspace_, kBytes); }
  int both() { return ragdot_cuda_quantize_both(&both_, &options_, workspace_, kBytes); }
  /// col_wise with aligned groups: 300 rows in 4 groups need up to 360.
  void align_groups() {
    both_.col_wise.values.rows = 360;
    both_.col_wise.values.col_stride = 368;
    places_ = {fake_memory(8), fake_memory(9)};
    options_.col_wise_groups = &places_;
  }
  void expect_nothing_launched() {
    EXPECT_TRUE(fake_->products.empty());
    EXPECT_TRUE(fake_->quantizes.empty());
  }

  FakeCalls* fake_ = nullptr;
  ragdot_gmm_args gmm_{};
  ragdot_tgmm_args tgmm_{};
  ragdot_groups groups_{};
  ragdot_quantize_args one_{};
  ragdot_quantize_both_args both_{};
  ragdot_cuda_options options_{};
  ragdot_cuda_group_places places_{};
  void* workspace_ = fake_memory(20);
};

TEST_F(CudaCalls, LaunchProducts) {
  options_.stream = fake_memory(30);
  options_.multiprocessors = 100;
  ASSERT_EQ(gmm(), RAGDOT_OK) << ragdot_last_error();
  ASSERT_EQ(tgmm(), RAGDOT_OK) << ragdot_last_error();
  ASSERT_EQ(fake_->products.size(), 2U);
  const Product g = fake_->products[0];
  EXPECT_EQ(g.op, Op::gmm);
  EXPECT_EQ(g.b.batch, 3);
  EXPECT_EQ(g.groups.first, 1);
  EXPECT_EQ(g.multiprocessors, 100);
  EXPECT_EQ(g.workspace, workspace_);
  EXPECT_EQ(fake_->products[1].op, Op::tgmm);
  EXPECT_FALSE(fake_->products[1].starts_aligned);
  options_.starts_aligned = 1;
  ASSERT_EQ(tgmm(), RAGDOT_OK) << ragdot_last_error();
  EXPECT_TRUE(fake_->products[2].starts_aligned);
  EXPECT_EQ(fake_->products[1].groups.sizes, fake_memory(7));
  EXPECT_EQ(fake_->stream, fake_memory(30));
}

TEST_F(CudaCalls, LaunchQuantisers) {
  ASSERT_EQ(ragdot_cuda_quantize(&one_, nullptr, workspace_, kBytes), RAGDOT_OK) << ragdot_last_error();
  ASSERT_EQ(ragdot_cuda_quantize_both(&both_, nullptr, workspace_, kBytes), RAGDOT_OK) << ragdot_last_error();
  ASSERT_EQ(fake_->quantizes.size(), 2U);
  EXPECT_EQ(fake_->quantizes[0].first.values, fake_memory(5));
  EXPECT_EQ(fake_->quantizes[0].second.values, nullptr);
  EXPECT_EQ(fake_->quantizes[1].first.values, fake_memory(3));
  EXPECT_EQ(fake_->quantizes[1].second.values, fake_memory(5));
  EXPECT_EQ(fake_->quantizes[1].multiprocessors, 0);
  EXPECT_EQ(fake_->stream, nullptr);
}

TEST_F(CudaCalls, AlignTheGroupsOfACopy) {
  align_groups();
  std::size_t bytes = 0;
  ASSERT_EQ(ragdot_cuda_quantize_both_workspace_bytes(&both_, &options_, &bytes), RAGDOT_OK) << ragdot_last_error();
  ASSERT_EQ(both(), RAGDOT_OK) << ragdot_last_error();
  const Quantize& q = fake_->quantizes.back();
  EXPECT_FALSE(q.first.aligned_groups);
  EXPECT_TRUE(q.second.aligned_groups);
  EXPECT_EQ(q.rows, 300);
  EXPECT_EQ(q.second.row_stride, 1);
  EXPECT_EQ(q.second.col_stride, 368);
  EXPECT_EQ(q.aligned_starts, fake_memory(8));
  EXPECT_EQ(q.aligned_sizes, fake_memory(9));
  places_.sizes = static_cast<char*>(places_.starts) + 16;  // right behind four numbers of 32 bits
  EXPECT_EQ(both(), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(ragdot_cuda_aligned_rows(300, 4), 360);
  options_.col_wise_groups = nullptr;
  EXPECT_EQ(both(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("col_wise is [1, 360, 200] and input is [1, 300, 200]"));
}

TEST_F(CudaCalls, RefuseAlignedGroups) {
  const auto refuse = [&](const char* sentence, int code = RAGDOT_INVALID_ARGUMENT) {
    EXPECT_EQ(both(), code);
    EXPECT_THAT(ragdot_last_error(), HasSubstr(sentence));
  };
  align_groups();
  both_.col_wise.values.rows = 359;
  refuse(
      "quantize_both: col_wise has 359 rows; with col_wise_groups 4 groups over 300 rows, each from a multiple of 16 on, need "
      "up to 360: give 360 rows or more");
  both_.col_wise.values.rows = 1000;
  refuse("col_wise");  // lines of 368 bytes overlap
  align_groups();
  both_.groups = nullptr;
  both_.col_wise.scales.view.rows = 3;
  refuse("quantize_both: col_wise_groups asks for aligned groups and no groups are given; give groups, or leave it null");
  both_.groups = &groups_;
  both_.col_wise.scales.view.rows = 6;
  both_.col_wise.values.row_stride = 208;
  both_.col_wise.values.col_stride = 1;
  refuse("quantize_both: col_wise has row stride 208; with col_wise_groups it is stored transposed, give row stride 1",
         RAGDOT_UNSUPPORTED);
  both_.col_wise.values.row_stride = 1;
  align_groups();
  places_.sizes = nullptr;
  refuse("quantize_both: col_wise_groups.sizes is null; give room for 4 numbers");
  places_.sizes = static_cast<char*>(places_.starts) + 12;
  refuse("quantize_both: col_wise_groups.sizes overlaps col_wise_groups.starts; give it memory of its own");
  places_ = {fake_memory(2), fake_memory(9)};
  refuse("quantize_both: col_wise_groups.starts overlaps the group numbers; give it memory of its own");
  places_ = {static_cast<char*>(fake_memory(5)) + 200 * 368 - 16, fake_memory(9)};
  refuse("quantize_both: col_wise_groups.starts overlaps col_wise; give it memory of its own");
  places_ = {static_cast<char*>(fake_memory(8)) + 2, fake_memory(9)};
  refuse("the address of col_wise_groups.starts is 0x800000002; on the GPU it is a multiple of 4", RAGDOT_UNSUPPORTED);
  align_groups();
  EXPECT_EQ(tgmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_cuda_tgmm: col_wise_groups is for ragdot_cuda_quantize_both alone; leave it null");
  options_.col_wise_groups = nullptr;
  options_.starts_aligned = 2;
  EXPECT_EQ(tgmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_cuda_tgmm: starts_aligned is 2; it must be 0 or 1");
  expect_nothing_launched();
}

TEST_F(CudaCalls, SayWhatWorkspaceTheyNeed) {
  std::size_t bytes = 0;
  gmm_.lhs.values.data = nullptr;
  ASSERT_EQ(ragdot_cuda_gmm_workspace_bytes(&gmm_, nullptr, &bytes), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(bytes, gmm_bytes(3));
  ASSERT_EQ(ragdot_cuda_tgmm_workspace_bytes(&tgmm_, nullptr, &bytes), RAGDOT_OK);
  EXPECT_EQ(bytes, 128U + 128U + 4 * 256U + 200 * 384U + 100 * 384U);  // head, spans, maps, and lines of 300 + 5 * 16 rows
  options_.starts_aligned = 1;
  ASSERT_EQ(ragdot_cuda_tgmm_workspace_bytes(&tgmm_, &options_, &bytes), RAGDOT_OK);
  EXPECT_EQ(bytes, 128U + 128U + 4 * 256U);
  ASSERT_EQ(ragdot_cuda_quantize_workspace_bytes(&one_, nullptr, &bytes), RAGDOT_OK);
  EXPECT_EQ(bytes, static_cast<std::size_t>(quantize_workspace_bytes(4)));
  both_.groups = nullptr;
  both_.col_wise.scales.view.rows = 3;
  ASSERT_EQ(ragdot_cuda_quantize_both_workspace_bytes(&both_, nullptr, &bytes), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(bytes, static_cast<std::size_t>(quantize_workspace_bytes(0)));
  ASSERT_EQ(ragdot_test_workspace(8, &bytes), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(bytes, gmm_bytes(8));
  EXPECT_EQ(ragdot_cuda_scale_rows(300, 4, 128), most_scale_rows(300, 4, 128));
  EXPECT_EQ(ragdot_cuda_scale_rows(3, 4, 128), most_scale_rows(3, 4, 128));

  EXPECT_EQ(ragdot_cuda_gmm_workspace_bytes(&gmm_, nullptr, nullptr), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_cuda_gmm_workspace_bytes: bytes is null; give its address");
  bytes = 7;
  tgmm_.out.format = RAGDOT_F16;
  EXPECT_EQ(ragdot_cuda_tgmm_workspace_bytes(&tgmm_, nullptr, &bytes), RAGDOT_UNSUPPORTED);
  EXPECT_EQ(bytes, 7U);
}

TEST_F(CudaCalls, RefuseTheirWorkspace) {
  const std::size_t needed = gmm_bytes(3);
  ASSERT_EQ(ragdot_cuda_gmm(&gmm_, nullptr, workspace_, needed), RAGDOT_OK) << ragdot_last_error();
  fake_->products.clear();
  EXPECT_EQ(ragdot_cuda_gmm(&gmm_, nullptr, workspace_, needed - 1), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(ragdot_last_error(),
            "gmm: the workspace has " + std::to_string(needed - 1) + " bytes; the call needs " + std::to_string(needed));
  EXPECT_EQ(ragdot_cuda_gmm(&gmm_, nullptr, nullptr, kBytes), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("bytes at null"));
  EXPECT_EQ(ragdot_cuda_gmm(&gmm_, nullptr, static_cast<char*>(workspace_) + 64, kBytes), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(),
               "gmm: the address of the workspace is 0x1400000040; it is a multiple of 128, as cudaMalloc gives it");
  expect_nothing_launched();
}

TEST_F(CudaCalls, RefuseAWorkspaceThatOverlapsTheCall) {
  const auto sentence = [](const char* op, std::size_t bytes, const std::string& what) {
    return std::string(op) + ": the workspace of " + std::to_string(bytes) + " bytes overlaps " + what +
           "; give it memory of its own";
  };
  std::size_t bytes = 0;
  ASSERT_EQ(ragdot_cuda_gmm_workspace_bytes(&gmm_, nullptr, &bytes), RAGDOT_OK);
  workspace_ = gmm_.out.data;
  EXPECT_EQ(gmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(ragdot_last_error(), sentence("gmm", bytes, "out [300, 100]"));
  ASSERT_EQ(ragdot_cuda_tgmm_workspace_bytes(&tgmm_, nullptr, &bytes), RAGDOT_OK);
  workspace_ = const_cast<void*>(tgmm_.groups.sizes);
  EXPECT_EQ(tgmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(ragdot_last_error(), sentence("tgmm", bytes, "the group sizes"));
  ASSERT_EQ(ragdot_cuda_quantize_both_workspace_bytes(&both_, nullptr, &bytes), RAGDOT_OK);
  for (const auto& [data, what] : {std::pair<const void*, const char*>{both_.input.data, "input"},
                                   {both_.col_wise.scales.view.data, "col_wise scales"},
                                   {groups_.data, "the group numbers"}}) {
    workspace_ = const_cast<void*>(data);
    EXPECT_EQ(both(), RAGDOT_INVALID_ARGUMENT);
    EXPECT_EQ(ragdot_last_error(), sentence("quantize_both", bytes, what));
  }
  align_groups();
  workspace_ = places_.sizes;
  EXPECT_EQ(both(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_EQ(ragdot_last_error(), sentence("quantize_both", bytes, "col_wise_groups.sizes"));
  EXPECT_EQ(ragdot_cuda_quantize(&one_, nullptr, one_.out.values.data, kBytes), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("overlaps out; give it memory of its own"));
  options_.col_wise_groups = nullptr;
  workspace_ = reinterpret_cast<void*>(std::uintptr_t{0x7fffffffffffff80});
  EXPECT_EQ(gmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("beyond the address space"));
  EXPECT_EQ(ragdot_cuda_quantize(&one_, nullptr, workspace_, kBytes), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("beyond the address space"));
  expect_nothing_launched();
}

TEST_F(CudaCalls, KeepTheRulesOfTheCpu) {
  gmm_.rhs.values.rows = 199;
  EXPECT_EQ(gmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("inner sizes differ"));
  gmm_.rhs.values.rows = 200;
  gmm_.first_group = 2;
  EXPECT_EQ(gmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("first_group + L"));
  gmm_.first_group = 1;
  gmm_.groups.data = nullptr;
  EXPECT_EQ(gmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "gmm: group sizes are null; 4 numbers are needed");
  gmm_.groups.data = fake_memory(5);
  gmm_.lhs.values.data = nullptr;
  EXPECT_EQ(gmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "gmm: lhs [300, 200]: data is null; give it");
  gmm_.lhs.values.data = fake_memory(6);
  EXPECT_EQ(gmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "gmm: out [300, 100] overlaps lhs [300, 200]; give out memory of its own");
  tgmm_.groups.sizes = nullptr;
  EXPECT_EQ(tgmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "tgmm: group sizes are null; 4 numbers are needed");
  tgmm_.groups.sizes = fake_memory(6);
  EXPECT_EQ(tgmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("overlaps the group sizes"));
  both_.row_wise.recipe = 9;
  EXPECT_EQ(ragdot_cuda_quantize_both(&both_, nullptr, workspace_, kBytes), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("recipe is 9"));
  both_.row_wise.recipe = RAGDOT_ABSMAX;
  both_.col_wise.values.data = both_.row_wise.values.data;
  EXPECT_EQ(ragdot_cuda_quantize_both(&both_, nullptr, workspace_, kBytes), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("row_wise [1, 300, 200] and col_wise [1, 300, 200] overlap"));
  expect_nothing_launched();
}

TEST_F(CudaCalls, RefuseWhatTheGpuDoesNotTake) {
  gmm_.activation = RAGDOT_RELU;
  EXPECT_EQ(gmm(), RAGDOT_UNSUPPORTED);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("activation 1 is not offered on the GPU"));
  gmm_.activation = RAGDOT_ACTIVATION_NONE;
  gmm_.out.data = static_cast<char*>(fake_memory(6)) + 2;
  EXPECT_EQ(gmm(), RAGDOT_UNSUPPORTED);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("the address of out is 0x600000002"));
  expect_nothing_launched();
}

TEST_F(CudaCalls, RefusePackedWeights) {
  std::vector<float> weights(12);
  ragdot_operand rhs{};
  rhs.values = ragdot_const_matrices(weights.data(), RAGDOT_F32, 1, 3, 4);
  ragdot_packed_rhs* packed = nullptr;
  ASSERT_EQ(ragdot_pack_rhs(&rhs, nullptr, &packed), RAGDOT_OK) << ragdot_last_error();
  gmm_.rhs_layout = RAGDOT_RHS_PACKED;
  EXPECT_EQ(gmm(), RAGDOT_UNSUPPORTED);
  EXPECT_STREQ(ragdot_last_error(), "gmm: rhs is packed, which is for a CPU; give rhs itself to the GPU");
  gmm_.rhs_layout = 7;
  EXPECT_EQ(gmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "gmm: rhs_layout is 7; it must be 0 (strided) or 1 (packed)");
  gmm_.rhs_layout = RAGDOT_RHS_STRIDED;
  gmm_.rhs = {};
  gmm_.packed_rhs = packed;
  EXPECT_EQ(gmm(), RAGDOT_UNSUPPORTED);
  EXPECT_STREQ(ragdot_last_error(), "gmm: rhs is packed, which is for a CPU; give rhs itself to the GPU");
  ragdot_packed_free(packed);
  expect_nothing_launched();
}

TEST_F(CudaCalls, RefuseMemoryOfTheHost) {
  fake_->host_pointer = fake_memory(5);
  EXPECT_EQ(gmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(),
               "gmm: the address of the group numbers lies in memory of the host, which the device cannot read; give memory of "
               "the device (cudaMalloc)");
  fake_->host_pointer = fake_memory(4);
  EXPECT_EQ(ragdot_cuda_quantize_both(&both_, nullptr, workspace_, kBytes), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("quantize_both: the address of row_wise scales lies in memory of the host"));
  expect_nothing_launched();
}

TEST_F(CudaCalls, SayWhyTheDeviceCannotRunThem) {
  EXPECT_THAT(ragdot_cuda_refusal(), StrEq(""));
  fake_->refusal = "the device is of architecture 8.0; the kernels need 9.0 (Hopper)";
  EXPECT_STREQ(ragdot_cuda_refusal(), fake_->refusal);
  EXPECT_EQ(tgmm(), RAGDOT_UNSUPPORTED);
  EXPECT_EQ(ragdot_last_error(), std::string("tgmm: ") + fake_->refusal);
  expect_nothing_launched();
}

TEST_F(CudaCalls, PassOnWhatTheDriverSays) {
  fake_->driver = "the launch was refused: out of memory";
  EXPECT_EQ(gmm(), RAGDOT_FAILED);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_cuda_gmm: the launch was refused: out of memory");
  EXPECT_EQ(ragdot_cuda_quantize(&one_, nullptr, workspace_, kBytes), RAGDOT_FAILED);
}

TEST_F(CudaCalls, LaunchNothingForNoElements) {
  gmm_.lhs.values.rows = gmm_.out.rows = gmm_.lhs.scales.view.rows = 0;
  gmm_.lhs.values.data = gmm_.out.data = nullptr;
  EXPECT_EQ(ragdot_cuda_gmm(&gmm_, nullptr, nullptr, 0), RAGDOT_OK) << ragdot_last_error();
  expect_nothing_launched();
  tgmm_.lhs.values.rows = tgmm_.rhs.values.rows = 0;
  tgmm_.lhs.scales.view.rows = tgmm_.rhs.scales.view.rows = 0;
  EXPECT_EQ(tgmm(), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(fake_->products.size(), 1U);  // which writes zeros
  both_.input.rows = both_.row_wise.values.rows = both_.row_wise.scales.view.rows = 0;
  both_.input.data = nullptr;
  both_.row_wise.values.data = nullptr;
  both_.col_wise.values.rows = 0;
  ASSERT_EQ(both(), RAGDOT_OK) << ragdot_last_error();
  EXPECT_TRUE(fake_->quantizes.empty());
  align_groups();
  both_.col_wise.values.rows = 60;
  ASSERT_EQ(both(), RAGDOT_OK) << ragdot_last_error();
  EXPECT_EQ(fake_->quantizes.size(), 1U);  // which writes where the groups lie
}

TEST_F(CudaCalls, KnowTheVersionsOfStructs) {
  gmm_.struct_size = 0;
  EXPECT_EQ(gmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_cuda_gmm: struct_size of args is 0; set it to sizeof(ragdot_gmm_args)");
  gmm_.struct_size = offsetof(ragdot_gmm_args, first_group);
  EXPECT_EQ(gmm(), RAGDOT_INVALID_ARGUMENT);
  options_.struct_size = sizeof options_ + 8;
  EXPECT_EQ(tgmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_THAT(ragdot_last_error(), HasSubstr("struct_size of options is"));
  options_.struct_size = offsetof(ragdot_cuda_options, multiprocessors);
  EXPECT_EQ(tgmm(), RAGDOT_INVALID_ARGUMENT);
  options_.struct_size = sizeof options_;
  options_.multiprocessors = -1;
  EXPECT_EQ(tgmm(), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_cuda_tgmm: multiprocessors is -1; it must be 1 or more, or 0 for all");
  EXPECT_EQ(ragdot_cuda_quantize(nullptr, nullptr, workspace_, kBytes), RAGDOT_INVALID_ARGUMENT);
  EXPECT_STREQ(ragdot_last_error(), "ragdot_cuda_quantize: args is null; give a ragdot_quantize_args");
}

}  // namespace
}  // namespace ragdot::cuda
