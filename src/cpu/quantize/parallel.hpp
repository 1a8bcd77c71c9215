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

/// One of `count` numbered tasks, as a thread gets it.
struct Task {
  std::int64_t i = 0;
  std::int64_t next = 0;  // what the same thread does next, where that is settled; else count
  int thread = 0;
};

/// Runs run(Task) for i in [0, count), thread in [0, threads). One thread is the caller's, without an executor.
template <class Run>
void parallel(std::int64_t count, const Options& options, int threads, Run run) {
  struct Shared {
    std::atomic<std::int64_t> next{0};
    std::int64_t count;
    std::int64_t threads;
    Run* run;

    std::int64_t claim() { return std::min(next.fetch_add(1), count); }
    /// The last tasks are left to whoever is free.
    [[nodiscard]] bool early() const { return count - next.load(std::memory_order_relaxed) > threads; }
  } shared{{}, count, threads, &run};
  const auto work = [](void* context, int thread) {
    auto& s = *static_cast<Shared*>(context);
    const FloatEnv environment(fault::on(fault::Id::quantiser_flushes_subnormals) ? FloatEnv::kProducts
                                                                                  : FloatEnv::kQuantisers);
    for (std::int64_t i = s.claim(); i < s.count;) {
      const bool early = s.early();
      const std::int64_t next = early ? s.claim() : s.count;
      (*s.run)(Task{i, next, thread});
      i = early ? next : s.claim();
    }
  };
  const int tasks = static_cast<int>(std::min<std::int64_t>(threads, count));
  if (tasks <= 1) return work(&shared, 0);
  executor_of(options).run(tasks, work, &shared);
}

}  // namespace ragdot::cpu
