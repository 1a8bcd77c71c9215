/* Times calls made from C, in the process and on the arrays of the other doors: what these take above it is their overhead. */
#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include <ragdot/ragdot.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Both: seconds of `calls` calls, -1 where one was refused. */
double seconds_of_runs(const ragdot_plan* plan, const ragdot_gmm_args* args, void* workspace, size_t bytes, int64_t calls) {
  const double start = now();
  for (int64_t i = 0; i < calls; ++i) {
    if (ragdot_run_gmm(plan, args, workspace, bytes) != RAGDOT_OK) return -1;
  }
  return now() - start;
}

double seconds_of_gmms(const ragdot_gmm_args* args, const ragdot_options* options, int64_t calls) {
  const double start = now();
  for (int64_t i = 0; i < calls; ++i) {
    if (ragdot_gmm(args, options) != RAGDOT_OK) return -1;
  }
  return now() - start;
}
