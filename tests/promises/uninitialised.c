/* Calls whose every unused byte is uninitialised: padding between rows, rows outside the groups, scales of nothing, workspaces,
   outputs. MemorySanitizer or valgrind stops where such a byte decides a branch, in the library or in the check of an output's
   bytes here. Without GoogleTest and C++, which are not instrumented where Debian built them. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ragdot/ragdot.h"

enum { kGroups = 4, kM = 53, kK = 70, kN = 45, kPad = 3, kUnused = 6 };
static const int32_t kSizes[kGroups] = {20, 0, 1, kM - kUnused - 21};

static const ragdot_options kOptions = {.struct_size = sizeof(ragdot_options), .threads = 2};

static void fail(const char* what) {
  fprintf(stderr, "uninitialised: %s: %s\n", what, ragdot_last_error());
  exit(1);
}

static void* memory(int64_t bytes) {
  void* at = malloc(bytes > 0 ? (size_t)bytes : 1);
  if (at == NULL) fail("no memory for the harness");
  return at;
}

static int64_t bytes_of(int32_t format) {
  return format == RAGDOT_F32 ? 4 : format == RAGDOT_BF16 || format == RAGDOT_F16 ? 2 : 1;
}

/* A view of `rows` x `cols` whose rows, or columns, are padded; nothing is written. */
static ragdot_view room(int32_t format, int64_t batch, int64_t rows, int64_t cols, int transposed) {
  ragdot_view v = ragdot_matrices(NULL, format, batch, rows, cols);
  const int64_t inner = (transposed ? rows : cols) + kPad;
  v.row_stride = transposed ? 1 : inner;
  v.col_stride = transposed ? inner : 1;
  v.batch_stride = (transposed ? cols : rows) * inner;
  v.data = memory(batch * v.batch_stride * bytes_of(format));
  return v;
}

static ragdot_const_view constant(ragdot_view v) {
  const ragdot_const_view c = {v.data, v.format, v.batch, v.rows, v.cols, v.batch_stride, v.row_stride, v.col_stride};
  return c;
}

static unsigned char* element(ragdot_view v, int64_t b, int64_t r, int64_t c) {
  return (unsigned char*)v.data + (b * v.batch_stride + r * v.row_stride + c * v.col_stride) * bytes_of(v.format);
}

/* Small finite numbers in the first `rows` rows of every matrix. */
static void fill(ragdot_view v, int64_t rows) {
  static uint32_t state = 1;
  for (int64_t b = 0; b < v.batch; ++b) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < v.cols; ++c) {
        state = state * 1664525U + 1013904223U;
        unsigned char* at = element(v, b, r, c);
        const float number = (float)(int32_t)state * 0x1p-30F + 0.01F;
        uint32_t bits;
        memcpy(&bits, &number, sizeof bits);
        if (v.format == RAGDOT_F32) memcpy(at, &bits, 4);
        if (v.format == RAGDOT_BF16) memcpy(at, (const char*)&bits + 2, 2);
        if (v.format == RAGDOT_F16) memcpy(at, &(uint16_t){(uint16_t)(0x3800U | (state >> 24))}, 2);
        if (v.format == RAGDOT_E8M0) *at = (unsigned char)(124U + (state >> 30));
        if (bytes_of(v.format) == 1 && v.format != RAGDOT_E8M0) *at = (unsigned char)((state >> 24) & 0xbfU);
      }
    }
  }
}

static ragdot_view filled(int32_t format, int64_t batch, int64_t rows, int64_t cols, int transposed) {
  const ragdot_view v = room(format, batch, rows, cols, transposed);
  fill(v, rows);
  return v;
}

/* Every element of an output decides a branch. */
static unsigned look_at(ragdot_view v) {
  unsigned odd = 0;
  for (int64_t b = 0; b < v.batch; ++b) {
    for (int64_t r = 0; r < v.rows; ++r) {
      for (int64_t c = 0; c < v.cols; ++c) {
        for (int64_t i = 0; i < bytes_of(v.format); ++i) {
          if (element(v, b, r, c)[i] & 1U) ++odd;
        }
      }
    }
  }
  free(v.data);
  return odd;
}

static ragdot_groups groups(void) {
  const ragdot_groups g = {RAGDOT_SIZES, RAGDOT_INDEX_I32, kSizes, NULL, kGroups};
  return g;
}

static int64_t blocks(int64_t dim, int64_t block) { return block == RAGDOT_WHOLE_AXIS ? 1 : (dim + block - 1) / block; }

/* Formats of a product and the grids of its operands. */
struct pair {
  const char* name;
  int32_t lhs, rhs, scale;
  int64_t lhs_rows, lhs_cols, rhs_rows, rhs_cols;
};
static const struct pair kPairs[] = {
    {"blockwise", RAGDOT_E4M3, RAGDOT_E4M3, RAGDOT_F32, 1, 32, 32, 32},
    {"mx", RAGDOT_E4M3, RAGDOT_E5M2, RAGDOT_E8M0, 1, 32, 32, 1},
    {"mixed", RAGDOT_BF16, RAGDOT_E4M3, RAGDOT_BF16, 1, 1, 7, RAGDOT_WHOLE_AXIS},
    {"bf16", RAGDOT_BF16, RAGDOT_BF16, RAGDOT_NONE, 1, 1, 1, 1},
    {"f32", RAGDOT_F32, RAGDOT_F32, RAGDOT_NONE, 1, 1, 1, 1},
    {"i8", RAGDOT_I8, RAGDOT_I8, RAGDOT_F32, 1, RAGDOT_WHOLE_AXIS, RAGDOT_WHOLE_AXIS, 1},
};

/* An operand of which the first `used` rows are initialised, scales as far as those rows have some. */
static ragdot_operand operand(int32_t format, int32_t scale, int64_t batch, int64_t rows, int64_t used, int64_t cols,
                              int64_t block_rows, int64_t block_cols, int transposed) {
  ragdot_operand o = {0};
  const ragdot_view values = room(format, batch, rows, cols, transposed);
  fill(values, used);
  o.values = constant(values);
  if (scale == RAGDOT_NONE || format == RAGDOT_BF16 || format == RAGDOT_F32) return o;
  const ragdot_view scales = room(scale, batch, blocks(rows, block_rows), blocks(cols, block_cols), 0);
  fill(scales, blocks(used, block_rows));
  o.scales.view = constant(scales);
  o.scales.block_rows = block_rows;
  o.scales.block_cols = block_cols;
  return o;
}

static void free_operand(ragdot_operand o) {
  free((void*)o.values.data);
  free((void*)o.scales.view.data);
}

/* gmm in one call, planned, and with packed weights. */
static unsigned run_gmm(const struct pair* p, int32_t out_format, int transposed) {
  unsigned odd = 0;
  ragdot_gmm_args args = {.struct_size = sizeof args, .groups = groups()};
  args.lhs = operand(p->lhs, p->scale, 1, kM, kM - kUnused, kK, p->lhs_rows, p->lhs_cols, 0);
  args.rhs = operand(p->rhs, p->scale, kGroups, kK, kK, kN, p->rhs_rows, p->rhs_cols, transposed);
  const ragdot_view bias = filled(RAGDOT_F32, 1, kGroups, kN, 0);
  if (out_format == RAGDOT_F16) {
    args.bias = constant(bias);
    args.activation = RAGDOT_GELU_TANH;
  }
  args.out = room(out_format, 1, kM, kN, 0);
  if (ragdot_gmm(&args, &kOptions) != RAGDOT_OK) fail("gmm");
  odd += look_at(args.out);

  ragdot_plan* plan = NULL;
  if (ragdot_plan_gmm(&args, &kOptions, &plan) != RAGDOT_OK) fail("plan");
  const size_t bytes = ragdot_plan_workspace_bytes(plan);
  void* workspace = memory((int64_t)bytes);
  args.out = room(out_format, 1, kM, kN, transposed);
  if (ragdot_run_gmm(plan, &args, workspace, bytes) != RAGDOT_OK) fail("run");
  odd += look_at(args.out);

  ragdot_packed_rhs* packed = NULL;
  if (ragdot_pack_rhs(&args.rhs, &kOptions, &packed) != RAGDOT_OK) fail("pack");
  ragdot_gmm_args with_packed = args;
  with_packed.rhs = (ragdot_operand){0};
  with_packed.packed_rhs = packed;
  with_packed.out = room(out_format, 1, kM, kN, 0);
  if (ragdot_gmm(&with_packed, &kOptions) != RAGDOT_OK) fail("gmm with packed weights");
  odd += look_at(with_packed.out);
  ragdot_packed_free(packed);
  ragdot_plan_free(plan);
  free(workspace);
  free(bias.data);
  free_operand(args.lhs);
  free_operand(args.rhs);
  return odd;
}

static unsigned run_tgmm(const struct pair* p, int32_t out_format, int transposed) {
  ragdot_tgmm_args args = {.struct_size = sizeof args, .groups = groups()};
  args.lhs = operand(p->lhs, p->scale, 1, kM, kM - kUnused, kK, p->rhs_rows, p->rhs_cols, transposed);
  args.rhs = operand(p->rhs, p->scale, 1, kM, kM - kUnused, kN, p->rhs_rows, p->rhs_cols, 0);
  args.out = room(out_format, kGroups, kK, kN, 0);
  if (ragdot_tgmm(&args, &kOptions) != RAGDOT_OK) fail("tgmm");
  free_operand(args.lhs);
  free_operand(args.rhs);
  return look_at(args.out);
}

/* Both copies of an input whose last rows belong to no group, and the ways back. */
static unsigned run_quantisers(int32_t input, int32_t values, int32_t scales, int32_t recipe) {
  const ragdot_groups of = groups();
  const int64_t scale_rows = (20 + 15) / 16 + 1 + (kM - kUnused - 21 + 15) / 16;
  ragdot_quantize_both_args args = {.struct_size = sizeof args, .groups = &of};
  const ragdot_view from = room(input, 1, kM, kN, 0);
  fill(from, kM - kUnused);
  args.input = constant(from);
  args.row_wise = (ragdot_quantized_out){room(values, 1, kM, kN, 0), {room(scales, 1, kM - kUnused, 3, 0), 1, 16}, recipe};
  args.col_wise = (ragdot_quantized_out){room(values, 1, kM, kN, 1), {room(scales, 1, scale_rows, kN, 0), 16, 1}, recipe};
  if (ragdot_quantize_both(&args, &kOptions) != RAGDOT_OK) fail("quantize_both");
  ragdot_dequantize_args back = {.struct_size = sizeof back, .groups = &of};
  back.input.values = constant(args.row_wise.values);
  back.input.scales = (ragdot_scales){constant(args.row_wise.scales.view), 1, 16, RAGDOT_ORIGIN_PER_GROUP};
  back.out = room(RAGDOT_BF16, 1, kM, kN, 0);
  if (ragdot_dequantize(&back, &kOptions) != RAGDOT_OK) fail("dequantize");
  ragdot_requantize_args again = {.struct_size = sizeof again, .input = back.input, .groups = &of};
  again.out =
      (ragdot_quantized_out){room(RAGDOT_E5M2, 1, kM, kN, 0), {room(RAGDOT_F32, 1, scale_rows, kN, 0), 16, 1}, RAGDOT_ABSMAX};
  if (ragdot_requantize(&again, &kOptions) != RAGDOT_OK) fail("requantize");
  free(from.data);
  return look_at(args.row_wise.values) + look_at(args.row_wise.scales.view) + look_at(args.col_wise.values) +
         look_at(args.col_wise.scales.view) + look_at(back.out) + look_at(again.out.values) + look_at(again.out.scales.view);
}

/* With any argument: reads what it did not write, so that whoever runs this can see the tool stop. */
int main(int argc, char** argv) {
  (void)argv;
  unsigned odd = 0;
  if (argc > 1) odd += look_at(room(RAGDOT_F32, 1, 1, 1, 0));
  for (size_t i = 0; i < sizeof kPairs / sizeof kPairs[0]; ++i) {
    for (int transposed = 0; transposed < 2; ++transposed) {
      odd += run_gmm(&kPairs[i], RAGDOT_F32, transposed);
      odd += run_gmm(&kPairs[i], RAGDOT_BF16, transposed);
      odd += run_gmm(&kPairs[i], RAGDOT_F16, transposed);
      odd += run_tgmm(&kPairs[i], transposed ? RAGDOT_BF16 : RAGDOT_F32, transposed);
    }
  }
  odd += run_quantisers(RAGDOT_F32, RAGDOT_E4M3, RAGDOT_F32, RAGDOT_ABSMAX);
  odd += run_quantisers(RAGDOT_BF16, RAGDOT_E5M2, RAGDOT_E8M0, RAGDOT_POW2);
  odd += run_quantisers(RAGDOT_F16, RAGDOT_I8, RAGDOT_BF16, RAGDOT_ABSMAX);
  printf("uninitialised: %zu pairs of formats, %u odd bytes in their outputs\n", sizeof kPairs / sizeof kPairs[0], odd);
  return odd == 0 ? 1 : 0;
}
