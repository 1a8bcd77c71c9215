/* A C program on an installed ragdot: one small gmm through the C interface, its numbers checked. */
#include <ragdot/cuda.h>
#include <ragdot/ragdot.h>
#include <stdio.h>
#include <string.h>

int main(void) {
  const float lhs[3][2] = {{1, 2}, {3, 4}, {5, 6}};
  const float rhs[2][2][2] = {{{1, 0}, {0, 1}}, {{1, 10}, {100, 1000}}};
  const int32_t sizes[2] = {1, 2};
  const float expected[3][2] = {{1, 2}, {403, 4030}, {605, 6050}};
  float out[3][2];
  ragdot_gmm_args args;
  memset(&args, 0, sizeof args);
  args.struct_size = sizeof args;
  args.lhs.values = ragdot_const_matrix(lhs, RAGDOT_F32, 3, 2, 0);
  args.rhs.values = ragdot_const_matrices(rhs, RAGDOT_F32, 2, 2, 2);
  args.groups.data = sizes;
  args.groups.count = 2;
  args.out = ragdot_matrix(out, RAGDOT_F32, 3, 2, 0);
  if (ragdot_gmm(&args, NULL) != RAGDOT_OK) {
    printf("%s\n", ragdot_last_error());
    return 1;
  }
  if (memcmp(out, expected, sizeof out) != 0) {
    printf("wrong numbers: %g %g %g %g %g %g\n", out[0][0], out[0][1], out[1][0], out[1][1], out[2][0], out[2][1]);
    return 1;
  }
  printf("the GPU: %s\n", *ragdot_cuda_refusal() == '\0' ? "usable" : ragdot_cuda_refusal());
  printf("C consumer of ragdot %s: ok\n", ragdot_version());
  return 0;
}
