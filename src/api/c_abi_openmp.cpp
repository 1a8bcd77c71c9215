// The C interface: the executor on OpenMP threads that the process has already.
#include <algorithm>
#include <atomic>
#include <cstdint>

#include "ragdot/ragdot.h"

namespace {

/// Null where anything of it is.
const ragdot_openmp* whole(const void* openmp) {
  const auto* runtime = static_cast<const ragdot_openmp*>(openmp);
  const bool has_all = runtime != nullptr && runtime->parallel != nullptr && runtime->max_threads != nullptr;
  return has_all ? runtime : nullptr;
}

}  // namespace

void ragdot_openmp_run(void* openmp, std::int32_t tasks, ragdot_task task, void* task_context) {
  struct Work {
    std::atomic<std::int32_t> next{0};
    std::int32_t tasks;
    ragdot_task task;
    void* task_context;
  } work{{}, tasks, task, task_context};
  // A counter, not a share for each thread: the runtime may give fewer threads than asked for, and within another parallel
  // region gives the calling one alone.
  const auto body = [](void* data) {
    auto& shared = *static_cast<Work*>(data);
    for (std::int32_t i = 0; (i = shared.next.fetch_add(1)) < shared.tasks;) shared.task(shared.task_context, i);
  };
  const ragdot_openmp* runtime = whole(openmp);
  if (runtime == nullptr) return body(&work);
  const std::int32_t threads = std::min(ragdot_openmp_concurrency(openmp), std::max(tasks, 1));
  runtime->parallel(body, &work, static_cast<unsigned>(threads), 0);
}

std::int32_t ragdot_openmp_concurrency(void* openmp) {
  const ragdot_openmp* runtime = whole(openmp);
  return runtime == nullptr ? 1 : std::max(runtime->max_threads(), 1);
}
