// Numbered tasks on the threads of a call, each in the quantisers' floating-point environment.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "cpu/isa/float_env.hpp"
#include "format/fault.hpp"
#include "ragdot/execution.hpp"

namespace ragdot::cpu {

inline Executor& executor_of(const Options& options) {
  return options.executor != nullptr ? *options.executor : default_executor();
}

/// Threads for `count` tasks: those of `options`, no more than there are tasks, at least one.
inline int thread_count(const Options& options, std::int64_t count) {
  const int most = options.threads > 0 ? options.threads : executor_of(options).concurrency();
  return static_cast<int>(std::clamp<std::int64_t>(most, 1, std::max<std::int64_t>(count, 1)));
}

/// Runs task(i, thread) for i in [0, count), thread in [0, threads). One thread is the caller's, without an executor.
template <class Task>
void parallel(std::int64_t count, const Options& options, int threads, Task task) {
  struct Shared {
    std::atomic<std::int64_t> next{0};
    std::int64_t count;
    Task* task;
  } shared{{}, count, &task};
  const auto work = [](void* context, int thread) {
    auto& s = *static_cast<Shared*>(context);
    const FloatEnv environment(fault::on(fault::Id::quantiser_flushes_subnormals) ? FloatEnv::kProducts
                                                                                  : FloatEnv::kQuantisers);
    for (std::int64_t i = 0; (i = s.next.fetch_add(1)) < s.count;) (*s.task)(i, thread);
  };
  const int tasks = static_cast<int>(std::min<std::int64_t>(threads, count));
  if (tasks <= 1) return work(&shared, 0);
  executor_of(options).run(tasks, work, &shared);
}

}  // namespace ragdot::cpu
