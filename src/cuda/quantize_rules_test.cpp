// What the GPU's quantisers refuse, with their sentences, and what is launched for what they take.
#include <gtest/gtest.h>

#include <array>

#include "cuda/gpu_calls.hpp"
#include "cuda/rules.hpp"

namespace ragdot::cuda {
namespace {

const std::vector<BadCall<GpuQuantizeBoth>> kBadQuantize = {
    {"rows", [](GpuQuantizeBoth& c) { c.args.input.rows = kDimensionLimit; },
     "quantize_both: rows is 1073741824; the GPU takes dimensions below 2^30, split the call"},
    {"f16", [](GpuQuantizeBoth& c) { c.args.input.format = Format::f16; },
     "quantize_both: input is f16; on the GPU it is f32 or bf16, convert it"},
    {"transposed",
     [](GpuQuantizeBoth& c) {
       c.args.input.row_stride = 1;
       c.args.input.col_stride = 304;
     },
     "quantize_both: input has column stride 304; on the GPU its rows are contiguous, give a row-major copy"},
    {"pitch", [](GpuQuantizeBoth& c) { c.args.input.row_stride = 203; },
     "quantize_both: input of bf16 has 200 contiguous elements and the next line of them 406 bytes on; on the GPU that is a "
     "multiple of 16 below 2^40, pad the lines"},
    {"i8", [](GpuQuantizeBoth& c) { c.args.row_wise.values.format = Format::i8; },
     "quantize_both: row_wise is i8; on the GPU it is e4m3 or e5m2, give one of them"},
    {"fixed", [](GpuQuantizeBoth& c) { c.args.col_wise.recipe = Recipe::fixed; },
     "quantize_both: recipe fixed of col_wise is not offered on the GPU; use absmax, pow2 or mx"},
    {"scale_format", [](GpuQuantizeBoth& c) { c.args.col_wise.scales.view.format = Format::e8m0; },
     "quantize_both: col_wise scales are e8m0; on the GPU they are f32, give an f32 view"},
    {"block", [](GpuQuantizeBoth& c) { c.args.row_wise.scales.block_cols = kWholeAxis; },
     "quantize_both: row_wise scales have block 1x*; on the GPU it is 1x128, 128x1 or 128x128, give one of them"},
    {"gaps", [](GpuQuantizeBoth& c) { c.args.groups->kind = Groups::Kind::starts_and_sizes; },
     "quantize_both: row_wise scales have block 1x128 and the groups may have gaps, where the GPU would have to pack their "
     "scale "
     "rows; make this copy without groups, or give groups by sizes or ends"},
    {"scale_rows", [](GpuQuantizeBoth& c) { c.args.col_wise.scales.view.rows = 5; },
     "quantize_both: col_wise scales have 5 rows; 4 groups over 300 rows need up to 6 (block 128), and group numbers in device "
     "memory are not read for the check: give 6 rows or more",
     Code::invalid_argument},
    {"no_groups", [](GpuQuantizeBoth& c) { c.args.groups->count = 0; },
     "quantize_both: groups has none, so that every row is of no group; on the GPU give one or more, or zero the copies with "
     "cudaMemsetAsync instead"},
    {"strides", [](GpuQuantizeBoth& c) { c.args.col_wise.values.row_stride = 2; },
     "quantize_both: col_wise has strides [0, 2, 304]; on the GPU the row or the column stride is 1, give such a view"},
    {"copy_pitch", [](GpuQuantizeBoth& c) { c.args.col_wise.values.col_stride = 300; },
     "quantize_both: col_wise of e5m2 has 300 contiguous elements and the next line of them 300 bytes on; on the GPU that is a "
     "multiple of 16 below 2^40, pad the lines"},
};

Result<Quantize> quantize_of(const QuantizeBothArgs& args) {
  const std::array<NamedCopy, 2> copies = {{{"row_wise", args.row_wise}, {"col_wise", args.col_wise}}};
  return quantize_of("quantize_both", args.input, args.groups, copies);
}

TEST(CudaRules, RefusesQuantisers) {
  for (const BadCall<GpuQuantizeBoth>& bad : kBadQuantize) {
    SCOPED_TRACE(bad.name);
    GpuQuantizeBoth call;
    bad.broken(call);
    EXPECT_EQ(quantize_of(call.args).status().message(), bad.message);
    EXPECT_EQ(quantize_of(call.args).status().code(), bad.code);
  }
}

TEST(CudaRules, LaunchesQuantisers) {
  const Result<Quantize> result = quantize_of(GpuQuantizeBoth().args);
  ASSERT_EQ(result.status().message(), "");
  const Quantize& q = result.value();
  EXPECT_EQ(q.input, fake_memory(1));
  EXPECT_EQ(q.input_format, Format::bf16);
  EXPECT_EQ(q.rows, 300);
  EXPECT_EQ(q.cols, 200);
  EXPECT_EQ(q.row_stride, 200);
  EXPECT_EQ(q.groups.kind, 1);
  EXPECT_EQ(q.groups.count, 4);
  EXPECT_EQ(q.groups.first, 0);
  EXPECT_EQ(q.groups.local, 4);
  EXPECT_EQ(q.first.values, fake_memory(3));
  EXPECT_EQ(q.first.row_stride, 208);
  EXPECT_EQ(q.first.col_stride, 1);
  EXPECT_EQ(q.first.scale_row_stride, 2);
  EXPECT_EQ(q.first.scale_rows, 300);
  EXPECT_EQ(q.first.block_rows, 1);
  EXPECT_EQ(q.first.block_cols, 128);
  EXPECT_EQ(q.second.format, Format::e5m2);
  EXPECT_EQ(q.second.row_stride, 1);
  EXPECT_EQ(q.second.col_stride, 304);
  EXPECT_EQ(q.second.scales, fake_memory(6));
  EXPECT_EQ(q.second.scale_rows, 6);
  EXPECT_EQ(q.second.recipe, Recipe::pow2);
  EXPECT_TRUE(check_addresses("quantize_both", q).ok());
  EXPECT_TRUE(writes(q));
}

TEST(CudaRules, QuantisesBatchesWithoutGroups) {
  GpuQuantizeBoth call;
  call.args.input = matrices(static_cast<const void*>(fake_memory(1)), Format::f32, 5, 256, 128);
  call.args.groups.reset();
  call.args.row_wise = {matrices(fake_memory(3), Format::e4m3, 5, 256, 128),
                        {matrices(fake_memory(4), Format::f32, 5, 2, 1), 128, 128},
                        Recipe::mx};
  call.args.col_wise = {matrices(fake_memory(5), Format::e4m3, 5, 128, 256).transposed(),
                        {matrices(fake_memory(6), Format::f32, 5, 2, 128), 128, 1},
                        Recipe::absmax};
  const Result<Quantize> result = quantize_of(call.args);
  ASSERT_EQ(result.status().message(), "");
  const Quantize& q = result.value();
  EXPECT_EQ(q.batch, 5);
  EXPECT_EQ(q.batch_stride, 256 * 128);
  EXPECT_EQ(q.groups.count, 0);
  EXPECT_EQ(q.first.scale_batch_stride, 2);
  EXPECT_EQ(q.second.batch_stride, 256 * 128);
  EXPECT_EQ(q.second.row_stride, 1);
  EXPECT_EQ(q.second.col_stride, 256);
}

}  // namespace
}  // namespace ragdot::cuda
