/* The same product through the C interface: quantise, plan once, run, print. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ragdot/ragdot.h"

enum { M = 6, K = 256, N = 64, G = 3, BLOCK = 128 };

static float x[M][K], w[G][K][N], y[M][N];
static uint8_t x8[M][K], w8[G][K][N];
static float x_scales[M][K / BLOCK], w_scales[G][K / BLOCK][1];

static void check(int code) {
  if (code == RAGDOT_OK) return;
  printf("%s\n", ragdot_last_error());
  exit(1);
}

/* Tokens: one scale for 1 x 128 elements. Weights: one for 128 x 128. */
static void quantise(void) {
  ragdot_quantize_args args;
  memset(&args, 0, sizeof args);
  args.struct_size = sizeof args;
  args.input = ragdot_const_matrix(x, RAGDOT_F32, M, K, 0);
  args.out.values = ragdot_matrix(x8, RAGDOT_E4M3, M, K, 0);
  args.out.scales.view = ragdot_matrix(x_scales, RAGDOT_F32, M, K / BLOCK, 0);
  args.out.scales.block_rows = 1;
  args.out.scales.block_cols = BLOCK;
  check(ragdot_quantize(&args, NULL));

  args.input = ragdot_const_matrices(w, RAGDOT_F32, G, K, N);
  args.out.values = ragdot_matrices(w8, RAGDOT_E4M3, G, K, N);
  args.out.scales.view = ragdot_matrices(w_scales, RAGDOT_F32, G, K / BLOCK, 1);
  args.out.scales.block_rows = BLOCK;
  check(ragdot_quantize(&args, NULL));
}

static void multiply(void) {
  const int64_t sizes[G] = {3, 0, 3};
  ragdot_gmm_args args;
  ragdot_plan* plan = NULL;
  void* workspace;
  memset(&args, 0, sizeof args);
  args.struct_size = sizeof args;
  args.lhs.values = ragdot_const_matrix(x8, RAGDOT_E4M3, M, K, 0);
  args.lhs.scales.view = ragdot_const_matrix(x_scales, RAGDOT_F32, M, K / BLOCK, 0);
  args.lhs.scales.block_rows = 1;
  args.lhs.scales.block_cols = BLOCK;
  args.rhs.values = ragdot_const_matrices(w8, RAGDOT_E4M3, G, K, N);
  args.rhs.scales.view = ragdot_const_matrices(w_scales, RAGDOT_F32, G, K / BLOCK, 1);
  args.rhs.scales.block_rows = BLOCK;
  args.rhs.scales.block_cols = BLOCK;
  args.groups.index = RAGDOT_INDEX_I64;
  args.groups.data = sizes;
  args.groups.count = G;
  args.out = ragdot_matrix(y, RAGDOT_F32, M, N, 0);

  check(ragdot_plan_gmm(&args, NULL, &plan));
  printf("%s\n", ragdot_plan_describe(plan));
  workspace = malloc(ragdot_plan_workspace_bytes(plan));
  check(ragdot_run_gmm(plan, &args, workspace, ragdot_plan_workspace_bytes(plan)));
  free(workspace);
  ragdot_plan_free(plan);
}

int main(void) {
  int m, k, n;
  double worst = 0;
  for (m = 0; m < M; ++m) {
    for (k = 0; k < K; ++k) x[m][k] = (float)((m * 7 + k * 3) % 11) - 5;
  }
  for (m = 0; m < G; ++m) {
    for (k = 0; k < K; ++k) {
      for (n = 0; n < N; ++n) w[m][k][n] = (float)((m * 5 + k + n * 2) % 13) / 8 - 0.75F;
    }
  }
  quantise();
  multiply();
  for (m = 0; m < M; ++m) { /* FP8 keeps 3 bits of a number: the products are close to those of the f32 matrices */
    for (n = 0; n < N; ++n) {
      double exact = 0, size = 0;
      for (k = 0; k < K; ++k) {
        const double product = (double)x[m][k] * w[m < 3 ? 0 : 2][k][n];
        exact += product;
        size += fabs(product);
      }
      if (fabs(y[m][n] - exact) / size > worst) worst = fabs(y[m][n] - exact) / size;
    }
  }
  printf("y[0][0] = %g, largest error %.3g of the sum of sizes\n", (double)y[0][0], worst);
  return worst < 0.05 ? 0 : 1;
}
