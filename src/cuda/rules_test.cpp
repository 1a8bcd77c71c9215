// What the GPU refuses, with its sentences, and what is launched for what it takes.
#include "cuda/rules.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "cuda/gpu_calls.hpp"

namespace ragdot::cuda {
namespace {

const std::vector<BadCall<GpuGmm>> kBadGmm = {
    {"m", [](GpuGmm& c) { c.args.lhs.values.rows = kDimensionLimit; },
     "gmm: M is 1073741824; the GPU takes dimensions below 2^30, split the call"},
    {"groups", [](GpuGmm& c) { c.args.groups.count = kDimensionLimit; },
     "gmm: G is 1073741824; the GPU takes dimensions below 2^30, split the call"},
    {"pair", [](GpuGmm& c) { c.args.lhs.values.format = Format::bf16; },
     "gmm: lhs bf16 with rhs e4m3 is not offered on the GPU; pairs are any two of e4m3 and e5m2, bf16 with bf16; convert an "
     "operand"},
    {"f32", [](GpuGmm& c) { c.args.lhs.values.format = c.args.rhs.values.format = Format::f32; },
     "gmm: lhs f32 with rhs f32 is not offered on the GPU; pairs are any two of e4m3 and e5m2, bf16 with bf16; convert an "
     "operand"},
    {"bias", [](GpuGmm& c) { c.args.bias = matrix(static_cast<const void*>(fake_memory(9)), Format::f32, 3, 100); },
     "gmm: bias is not offered on the GPU; leave it out and add it to out afterwards"},
    {"activation", [](GpuGmm& c) { c.args.activation = Activation::silu; },
     "gmm: activation 3 is not offered on the GPU; leave it out and apply it to out afterwards"},
    {"no_scales", [](GpuGmm& c) { c.args.lhs.scales = {}; },
     "gmm: lhs is e4m3 and has no scales; on the GPU FP8 has f32 scales of block 1x128, quantise it so, or give bf16"},
    {"e8m0", [](GpuGmm& c) { c.args.rhs.scales.view.format = Format::e8m0; },
     "gmm: rhs scales are e8m0; on the GPU they are f32, convert them"},
    {"channelwise", [](GpuGmm& c) { c.args.lhs.scales.block_cols = kWholeAxis; },
     "gmm: lhs scales have block 1x*; on the GPU the block is 1x128, quantise it so"},
    {"rhs_block", [](GpuGmm& c) { c.args.rhs.scales.block_rows = 64; },
     "gmm: rhs scales have block 64x128; on the GPU the block is 128x128, quantise it so"},
    {"per_group_with_gaps",
     [](GpuGmm& c) {
       c.args.lhs.scales.origin = ScaleOrigin::per_group;
       c.args.groups.kind = Groups::Kind::offsets;
     },
     "gmm: lhs scales have origin per_group and the groups may have gaps; on the GPU row m has scale row m, quantise lhs "
     "without "
     "groups (origin global), or give groups by sizes or ends"},
    {"per_group_rows",
     [](GpuGmm& c) {
       c.args.lhs.scales.origin = ScaleOrigin::per_group;
       c.args.lhs.scales.view.rows = 299;
     },
     "gmm: lhs scales have 299 rows; 4 groups over 300 rows need up to 300 (block 1), and group numbers in device memory are "
     "not "
     "read for the check: give 300 rows or more",
     Code::invalid_argument},
    {"lhs_transposed",
     [](GpuGmm& c) {
       c.args.lhs.values.row_stride = 1;
       c.args.lhs.values.col_stride = 304;
     },
     "gmm: lhs has column stride 304; on the GPU its rows are contiguous, give a row-major lhs (col_stride 1), such as the "
     "row_wise "
     "copy of quantize_both"},
    {"lhs_pitch", [](GpuGmm& c) { c.args.lhs.values.row_stride = 200; },
     "gmm: lhs of e4m3 has 200 contiguous elements and the next line of them 200 bytes on; on the GPU that is a multiple of 16 "
     "below 2^40, pad the lines"},
    {"long_pitch", [](GpuGmm& c) { c.args.lhs.values.row_stride = std::int64_t{1} << 40; },
     "gmm: lhs of e4m3 has 200 contiguous elements and the next line of them 1099511627776 bytes on; on the GPU that is a "
     "multiple "
     "of 16 below 2^40, pad the lines"},
    {"rhs_row_major",
     [](GpuGmm& c) { c.args.rhs.values = matrices(static_cast<const void*>(fake_memory(3)), Format::e4m3, 3, 200, 100); },
     "gmm: rhs is e4m3 with row stride 100; on the GPU the FP8 elements of a sum are contiguous, give rhs stored [L, N, K] "
     "(row_stride 1), such as the col_wise copy of quantize_both"},
    {"rhs_batch_pitch", [](GpuGmm& c) { c.args.rhs.values.batch_stride += 8; },
     "gmm: rhs of e4m3 has 3 matrices, each 20808 bytes from the next; on the GPU that is a multiple of 16 below 2^40, pad the "
     "matrices"},
    {"out_f16", [](GpuGmm& c) { c.args.out.format = Format::f16; },
     "gmm: out is f16; on the GPU it is f32 or bf16, convert it afterwards"},
    {"out_transposed",
     [](GpuGmm& c) {
       c.args.out.row_stride = 1;
       c.args.out.col_stride = 300;
     },
     "gmm: out has column stride 300; on the GPU its rows are contiguous, give a row-major out"},
    {"out_pitch", [](GpuGmm& c) { c.args.out.row_stride = 100; },
     "gmm: out of bf16 has 100 contiguous elements and the next line of them 200 bytes on; on the GPU that is a multiple of 16 "
     "below 2^40, pad the lines"},
    {"k_0", [](GpuGmm& c) { c.args.lhs.values.cols = c.args.rhs.values.rows = 0; },
     "gmm: K is 0; the GPU takes K of 1 or more, zero out with cudaMemsetAsync instead"},
    {"l_0", [](GpuGmm& c) { c.args.rhs.values.batch = 0; },
     "gmm: rhs has no matrices and rows_outside is zero; the GPU takes one matrix or more, zero out with cudaMemsetAsync "
     "instead"},
};

const std::vector<BadCall<GpuTgmm>> kBadTgmm = {
    {"n", [](GpuTgmm& c) { c.args.rhs.values.cols = kDimensionLimit; },
     "tgmm: N is 1073741824; the GPU takes dimensions below 2^30, split the call"},
    {"pair", [](GpuTgmm& c) { c.args.rhs.values.format = Format::bf16; },
     "tgmm: lhs e5m2 with rhs bf16 is not offered on the GPU; pairs are any two of e4m3 and e5m2, bf16 with bf16; convert an "
     "operand"},
    {"block", [](GpuTgmm& c) { c.args.rhs.scales.block_rows = 1; },
     "tgmm: rhs scales have block 1x1; on the GPU the block is 128x1, quantise it so"},
    {"global", [](GpuTgmm& c) { c.args.lhs.scales.origin = ScaleOrigin::global; },
     "tgmm: lhs scales have origin global; on the GPU blocks start anew at each group, quantise with the groups"},
    {"scale_rows", [](GpuTgmm& c) { c.args.lhs.scales.view.rows = 5; },
     "tgmm: lhs scales have 5 rows; 4 groups over 300 rows need up to 6 (block 128), and group numbers in device memory are "
     "not "
     "read for the check: give 6 rows or more",
     Code::invalid_argument},
    {"row_major",
     [](GpuTgmm& c) { c.args.lhs.values = matrix(static_cast<const void*>(fake_memory(1)), Format::e4m3, 300, 200, 208); },
     "tgmm: lhs is e4m3 with row stride 208; on the GPU the FP8 elements of a sum are contiguous, give it stored transposed "
     "(row_stride 1), as quantize_both writes its col_wise copy"},
    {"pitch", [](GpuTgmm& c) { c.args.rhs.values.col_stride = 300; },
     "tgmm: rhs of e4m3 has 300 contiguous elements and the next line of them 300 bytes on; on the GPU that is a multiple of "
     "16 "
     "below 2^40, pad the lines"},
    {"room_for_copies",
     [](GpuTgmm& c) {
       c.args.groups.count = c.args.out.batch = std::int64_t{1} << 27;
       c.args.lhs.values.cols = c.args.out.rows = std::int64_t{1} << 20;
       c.args.lhs.scales.view.rows = c.args.rhs.scales.view.rows = 300;
     },
     "tgmm: groups may begin anywhere, and aligned copies of them may have more than 2^31 rows or 2^46 bytes; split the call, "
     "or let groups begin at multiples of 16 rows and set starts_aligned"},
    {"out_batch_pitch", [](GpuTgmm& c) { c.args.out.batch_stride = 20001; },
     "tgmm: out of f32 has 4 matrices, each 80004 bytes from the next; on the GPU that is a multiple of 16 below 2^40, pad the "
     "matrices"},
};

template <class Call>
void expect_refused(const std::vector<BadCall<Call>>& calls) {
  for (const BadCall<Call>& bad : calls) {
    SCOPED_TRACE(bad.name);
    Call call;
    ASSERT_EQ(product_of(call.args).status().message(), "");
    bad.broken(call);
    const Result<Product> product = product_of(call.args);
    EXPECT_EQ(product.status().message(), bad.message);
    EXPECT_EQ(product.status().code(), bad.code);
  }
}

TEST(CudaRules, RefusesGmm) { expect_refused(kBadGmm); }
TEST(CudaRules, RefusesTgmm) { expect_refused(kBadTgmm); }

/// What is launched for a call that is taken.
template <class Args>
Product launched(const Args& args) {
  const Result<Product> product = product_of(args);
  EXPECT_EQ(product.status().message(), "");
  return product.ok() ? product.value() : Product{};
}

void expect_lines(const Lines& lines, std::uintptr_t memory, std::int64_t count, std::int64_t length,
                  std::int64_t pitch_bytes) {
  EXPECT_EQ(lines.data, fake_memory(memory));
  EXPECT_EQ(lines.lines, count);
  EXPECT_EQ(lines.length, length);
  EXPECT_EQ(lines.pitch_bytes, pitch_bytes);
}

void expect_scales(const ScaleGrid& scales, std::uintptr_t memory, std::int64_t batch, std::int64_t row, std::int64_t col) {
  EXPECT_EQ(scales.data, fake_memory(memory));
  EXPECT_EQ(scales.batch_stride, batch);
  EXPECT_EQ(scales.row_stride, row);
  EXPECT_EQ(scales.col_stride, col);
}

TEST(CudaRules, LaunchesGmm) {
  const Product p = launched(GpuGmm().args);
  EXPECT_EQ(p.op, Op::gmm);
  EXPECT_EQ(p.m, 300);
  EXPECT_EQ(p.k, 200);
  EXPECT_EQ(p.n, 100);
  expect_lines(p.a, 1, 300, 200, 208);
  expect_lines(p.b, 3, 100, 200, 208);
  EXPECT_EQ(p.a.batch, 1);
  EXPECT_EQ(p.b.batch, 3);
  EXPECT_EQ(p.b.batch_pitch_bytes, 100 * 208);
  EXPECT_FALSE(p.a_across);
  EXPECT_FALSE(p.b_across);
  expect_scales(p.a_scales, 2, 0, 1, 300);
  expect_scales(p.b_scales, 4, 2, 1, 0);
  EXPECT_EQ(p.groups.kind, 0);
  EXPECT_EQ(p.groups.index_bits, 32);
  EXPECT_EQ(p.groups.data, fake_memory(5));
  EXPECT_EQ(p.groups.count, 4);
  EXPECT_EQ(p.groups.first, 1);
  EXPECT_EQ(p.groups.local, 3);
  EXPECT_EQ(p.out, fake_memory(6));
  EXPECT_EQ(p.out_format, Format::bf16);
  EXPECT_EQ(p.out_pitch, 104);
  EXPECT_TRUE(p.zero_outside);
  EXPECT_FALSE(p.accumulate);
  EXPECT_TRUE(check_addresses(p).ok());
  EXPECT_TRUE(writes(p));
}

TEST(CudaRules, LaunchesTgmm) {
  const Product p = launched(GpuTgmm().args);
  EXPECT_EQ(p.op, Op::tgmm);
  expect_lines(p.a, 1, 200, 300, 304);
  expect_lines(p.b, 3, 100, 300, 304);
  EXPECT_EQ(p.a.format, Format::e5m2);
  expect_scales(p.a_scales, 2, 0, 200, 1);
  expect_scales(p.b_scales, 4, 0, 100, 1);
  EXPECT_EQ(p.groups.kind, 3);
  EXPECT_EQ(p.groups.index_bits, 64);
  EXPECT_EQ(p.groups.sizes, fake_memory(7));
  EXPECT_EQ(p.groups.local, 4);
  EXPECT_EQ(p.out_pitch, 100);
  EXPECT_EQ(p.out_batch_pitch, 20000);
  EXPECT_TRUE(check_addresses(p).ok());
}

TEST(CudaRules, TakesEveryPairOfFp8) {
  for (const Format lhs : {Format::e4m3, Format::e5m2}) {
    for (const Format rhs : {Format::e4m3, Format::e5m2}) {
      GpuGmm call;
      call.args.lhs.values.format = lhs;
      call.args.rhs.values.format = rhs;
      EXPECT_EQ(launched(call.args).a.format, lhs);
      EXPECT_EQ(launched(call.args).b.format, rhs);
    }
  }
}

TEST(CudaRules, TakesBf16InEitherOrder) {
  GpuGmm gmm = GpuGmm::bf16();
  Product p = launched(gmm.args);
  EXPECT_TRUE(p.b_across);
  expect_lines(p.b, 3, 200, 104, 208);
  EXPECT_EQ(p.b.batch_pitch_bytes, 200 * 208);
  EXPECT_EQ(p.a_scales.data, nullptr);
  gmm.args.rhs.values = matrices(static_cast<const void*>(fake_memory(3)), Format::bf16, 3, 104, 200).transposed();
  p = launched(gmm.args);
  EXPECT_FALSE(p.b_across);
  expect_lines(p.b, 3, 104, 200, 400);

  GpuTgmm tgmm;
  tgmm.args.lhs = matrix(static_cast<const void*>(fake_memory(1)), Format::bf16, 300, 200);
  tgmm.args.rhs = matrix(static_cast<const void*>(fake_memory(3)), Format::bf16, 104, 304).transposed();
  tgmm.args.rhs.values.rows = 300;
  p = launched(tgmm.args);
  EXPECT_TRUE(p.a_across);
  EXPECT_FALSE(p.b_across);
  expect_lines(p.a, 1, 300, 200, 400);
  expect_lines(p.b, 3, 104, 300, 608);
}

TEST(CudaRules, TakesAnyStrideOfAnAxisWithOneElement) {
  GpuTgmm row;  // one token: its bf16 row is contiguous, its columns are 2 bytes apart
  row.args.lhs = ConstView{fake_memory(1), Format::bf16, 1, 1, 200, 0, 7, 1};
  row.args.rhs = ConstView{fake_memory(3), Format::bf16, 1, 1, 100, 0, 7, 1};
  Product p = launched(row.args);
  EXPECT_TRUE(p.a_across);
  expect_lines(p.a, 1, 1, 200, 400);
  expect_lines(p.b, 3, 1, 100, 208);

  GpuGmm one;  // one row of out and of lhs
  one.args.lhs.values.rows = one.args.out.rows = one.args.lhs.scales.view.rows = 1;
  one.args.lhs.values.row_stride = one.args.out.row_stride = 5;
  one.args.lhs.scales.view.row_stride = 77;
  p = launched(one.args);
  expect_lines(p.a, 1, 1, 200, 208);
  EXPECT_EQ(p.out_pitch, 104);
  EXPECT_EQ(p.a_scales.row_stride, 0);

  GpuGmm column;  // N = 1: one column of rhs, and out's column stride is free
  column.args.rhs.values.cols = column.args.out.cols = 1;
  column.args.rhs.values.col_stride = 3;
  column.args.rhs.values.batch_stride = 208;
  column.args.out.col_stride = 9;
  p = launched(column.args);
  expect_lines(p.b, 3, 1, 200, 208);

  GpuTgmm scale_row;  // one row of scales
  scale_row.args.lhs.values.rows = scale_row.args.rhs.values.rows = 1;
  scale_row.args.lhs.scales.view.rows = scale_row.args.rhs.scales.view.rows = 1;
  scale_row.args.lhs.scales.view.row_stride = 3;
  EXPECT_EQ(launched(scale_row.args).a_scales.row_stride, 0);
}

TEST(CudaRules, TakesPerGroupRowsWhereTheyAreGlobalOnes) {
  GpuGmm call;
  call.args.lhs.scales.origin = ScaleOrigin::per_group;
  EXPECT_EQ(launched(call.args).a_scales.data, fake_memory(2));
}

TEST(CudaRules, ZeroesOutsideOnlyWhereOutIsOverwritten) {
  GpuGmm call = GpuGmm::bf16();
  call.args.out_mode = OutMode::accumulate;
  EXPECT_FALSE(launched(call.args).zero_outside);
  EXPECT_TRUE(launched(call.args).accumulate);
  call.args.out_mode = OutMode::overwrite;
  call.args.rows_outside = RowsOutside::leave;
  EXPECT_FALSE(launched(call.args).zero_outside);
}

TEST(CudaRules, LaunchesNothingWhereNothingIsWritten) {
  GpuGmm gmm;
  gmm.args.lhs.values.rows = gmm.args.out.rows = 0;
  EXPECT_FALSE(writes(launched(gmm.args)));
  gmm.args.lhs.values.cols = gmm.args.rhs.values.rows = 0;  // K = 0 as well
  EXPECT_FALSE(writes(launched(gmm.args)));
  gmm = GpuGmm();
  gmm.args.rhs.values.cols = gmm.args.out.cols = 0;
  EXPECT_FALSE(writes(launched(gmm.args)));
  gmm = GpuGmm();
  gmm.args.rhs.values.batch = 0;
  gmm.args.rows_outside = RowsOutside::leave;
  EXPECT_FALSE(writes(launched(gmm.args)));

  GpuTgmm tgmm;
  tgmm.args.out.batch = 0;
  EXPECT_FALSE(writes(launched(tgmm.args)));
  tgmm = GpuTgmm();
  tgmm.args.lhs.values.rows = tgmm.args.rhs.values.rows = 0;  // zeros are written
  Product p = launched(tgmm.args);
  EXPECT_TRUE(writes(p));
  expect_lines(p.a, 1, 200, 0, 16);
  tgmm.args.out_mode = OutMode::accumulate;
  EXPECT_FALSE(writes(launched(tgmm.args)));
}

TEST(CudaRules, AsksForAlignment) {
  const auto shifted = [](const void* data, std::uintptr_t bytes) {
    return reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(data) + bytes);
  };
  GpuGmm call;
  call.args.lhs.values.data = shifted(fake_memory(1), 8);
  EXPECT_EQ(check_addresses(launched(call.args)).message(),
            "gmm: the address of lhs is 0x100000008; on the GPU it is a multiple of 16, copy the data to such a one");
  call = GpuGmm();
  call.args.lhs.scales.view.data = shifted(fake_memory(2), 4);
  EXPECT_TRUE(check_addresses(launched(call.args)).ok());
  call.args.groups.data = shifted(fake_memory(5), 2);
  EXPECT_EQ(
      check_addresses(launched(call.args)).message(),
      "gmm: the address of the group numbers is 0x500000002; on the GPU it is a multiple of 4, copy the data to such a one");
  GpuTgmm tgmm;
  tgmm.args.rhs.scales.view.data = shifted(fake_memory(4), 4);
  EXPECT_TRUE(check_addresses(launched(tgmm.args)).ok());
  tgmm.args.rhs.scales.view.data = shifted(fake_memory(4), 2);
  EXPECT_EQ(check_addresses(launched(tgmm.args)).message(),
            "tgmm: the address of rhs scales is 0x400000002; on the GPU it is a multiple of 4, copy the data to such a one");
}

TEST(CudaRules, MakesRoomForCopiesOfGroupsThatBeginAnywhere) {
  Product p = launched(GpuTgmm().args);
  EXPECT_TRUE(copies_a(p) && copies_b(p));
  EXPECT_EQ(copy_pitch(p), 384);  // 300 rows and 16 for each of 4 groups and the end, rounded up
  EXPECT_EQ(copy_a_offset(p), maps_offset(Op::tgmm, 4) + 4 * 256);
  EXPECT_EQ(copy_b_offset(p), copy_a_offset(p) + 200 * 384);
  EXPECT_EQ(product_workspace_bytes(p), copy_b_offset(p) + 100 * 384);
  EXPECT_EQ(copy_a_offset(p) % 128, 0);
  p.k = 201;
  p.m = 301 + 16;
  EXPECT_EQ(copy_pitch(p), 400);
  EXPECT_EQ(copy_b_offset(p), copy_a_offset(p) + 80512);  // 201 * 400, rounded up to 128
  p.starts_aligned = true;
  EXPECT_FALSE(copies_a(p) || copies_b(p));
  EXPECT_EQ(product_workspace_bytes(p), copy_a_offset(p));
  p = launched(GpuGmm().args);
  EXPECT_FALSE(copies_a(p) || copies_b(p));
  EXPECT_EQ(product_workspace_bytes(p), maps_offset(Op::gmm, 3));

  GpuTgmm bf16;  // rows of lhs lie apart, those of rhs side by side
  bf16.args.lhs = matrix(static_cast<const void*>(fake_memory(1)), Format::bf16, 300, 200);
  bf16.args.rhs = ConstView{fake_memory(3), Format::bf16, 1, 300, 100, 0, 1, 304};
  p = launched(bf16.args);
  EXPECT_FALSE(copies_a(p));
  EXPECT_TRUE(copies_b(p));
  EXPECT_EQ(copy_b_offset(p), copy_a_offset(p));
  EXPECT_EQ(product_workspace_bytes(p), copy_b_offset(p) + 100 * 384 * 2);
}

TEST(CudaRules, MakesRoomForTheWorstSizes) {
  EXPECT_EQ(most_scale_rows(300, 4, 128), 6);
  EXPECT_EQ(most_scale_rows(3, 5, 128), 3);
  EXPECT_EQ(most_scale_rows(0, 5, 128), 0);
  EXPECT_EQ(most_scale_rows(256, 1, 128), 2);
  EXPECT_EQ(most_scale_rows(257, 1, 128), 3);
  EXPECT_EQ(most_scale_rows(300, 4, 1), 300);
  for (std::int64_t rows = 0; rows < 12; ++rows) {  // against all sizes of two groups
    std::int64_t most = 0;
    for (std::int64_t first = 0; first <= rows; ++first) most = std::max(most, (first + 2) / 3 + (rows - first + 2) / 3);
    EXPECT_EQ(most_scale_rows(rows, 2, 3), most) << rows;
  }
}

}  // namespace
}  // namespace ragdot::cuda
