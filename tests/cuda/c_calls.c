/* The header of the GPU's calls, read by a C compiler. */
#include "ragdot/cuda.h"

#include <string.h>

/* Asks for the workspace of a bf16 gmm over `groups` groups. */
int ragdot_test_workspace(int64_t groups, size_t* bytes) {
  ragdot_gmm_args args;
  memset(&args, 0, sizeof args);
  args.struct_size = sizeof args;
  args.lhs.values = ragdot_const_matrix(NULL, RAGDOT_BF16, 100, 64, 0);
  args.rhs.values = ragdot_const_matrices(NULL, RAGDOT_BF16, groups, 64, 32);
  args.groups.count = groups;
  args.out = ragdot_matrix(NULL, RAGDOT_BF16, 100, 32, 0);
  return ragdot_cuda_gmm_workspace_bytes(&args, NULL, bytes);
}
