/* Two copies of the library in one process, one linked and one opened, as a host of a Python package has them: each runs its
   own code. Argument: the other copy's file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "ragdot/ragdot.h"

int main(int count, char** arguments) {
  void* copy = count == 2 ? dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL) : NULL;
  if (copy == NULL) return fprintf(stderr, "no second copy: %s\n", dlerror()), 1;
  int (*force)(const char*);
  *(void**)&force = dlsym(copy, "ragdot_force_kernel");
  if (force == NULL || force == ragdot_force_kernel) return fprintf(stderr, "it is the same copy\n"), 1;
  if (force("portable") != RAGDOT_OK) return fprintf(stderr, "portable is refused\n"), 1;

  const float one[4] = {1, 1, 1, 1};
  const int32_t size = 2;
  float out[4];
  ragdot_gmm_args args;
  memset(&args, 0, sizeof args);
  args.struct_size = sizeof args;
  args.lhs.values = ragdot_const_matrix(one, RAGDOT_F32, 2, 2, 0);
  args.rhs.values = ragdot_const_matrices(one, RAGDOT_F32, 1, 2, 2);
  args.groups.data = &size;
  args.groups.count = 1;
  args.out = ragdot_matrix(out, RAGDOT_F32, 2, 2, 0);
  ragdot_plan* plan;
  if (ragdot_plan_gmm(&args, NULL, &plan) != RAGDOT_OK) return fprintf(stderr, "%s\n", ragdot_last_error()), 1;
  const char* kernel = ragdot_plan_kernel(plan);
  int usable = 0;
  for (int32_t i = 0; i < ragdot_kernel_count(); ++i) {
    ragdot_kernel_info info = {sizeof info, NULL, NULL, 0};
    if (ragdot_kernel(i, &info) == RAGDOT_OK && info.usable) ++usable;
  }
  if (usable > 1 && strcmp(kernel, "portable") == 0)
    return fprintf(stderr, "the other copy's kernel was forced on this one\n"), 1;
  ragdot_plan_free(plan);
  puts("two copies: ok");
  return 0;
}
