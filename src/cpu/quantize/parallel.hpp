// Numbered tasks on the threads of a call, each in the quantisers' floating-point environment.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "cpu/isa/float_env.hpp"
#include "format/fault.hpp"
#include "plan/threads.hpp"

namespace ragdot::cpu {

/// Threads for `count` tasks: those of `options`, no more than there are tasks, at least one.
inline int thread_count(const Options& options, std::int64_t count) {
  return static_cast<int>(std::clamp<std::int64_t>(plan::threads_of(options), 1, std::max<std::int64_t>(count, 1)));
}

/// Numbered tasks, and the next of them that nobody has.
class Tasks {
 public:
  Tasks(std::int64_t count, std::int64_t threads) : count_(count), threads_(threads) {}

  /// `count` behind the last.
  std::int64_t claim() { return std::min(next_.fetch_add(1), count_); }
  /// The same, but `count` too where the last tasks are left to whoever is free.
  std::int64_t claim_early() { return count_ - next_.load(std::memory_order_relaxed) > threads_ ? claim() : count_; }
  [[nodiscard]] bool are_left() const { return next_.load(std::memory_order_relaxed) < count_; }
  [[nodiscard]] std::int64_t count() const { return count_; }

 private:
  std::atomic<std::int64_t> next_{0};
  const std::int64_t count_;
  const std::int64_t threads_;
};

/// One of them, as a thread gets it.
struct Task {
  std::int64_t i = 0;
  int thread = 0;
  Tasks& tasks;
  std::int64_t claimed;  // what the thread does next, `count` where that is open

  /// What the same thread does next, settled by this call; `count` where that stays open.
  std::int64_t next() {
    if (claimed == tasks.count()) claimed = tasks.claim_early();
    return claimed;
  }
};

/// Runs run(Task&) for i in [0, count), thread in [0, threads). One thread is the caller's, without an executor.
template <class Run>
void parallel(std::int64_t count, const Options& options, int threads, Run run) {
  struct Shared {
    Tasks tasks;
    Run* run;
  } shared{{count, threads}, &run};
  const auto work = [](void* context, int thread) {
    auto& s = *static_cast<Shared*>(context);
    const FloatEnv environment(fault::on(fault::Id::quantiser_flushes_subnormals) ? FloatEnv::kProducts
                                                                                  : FloatEnv::kQuantisers);
    for (std::int64_t i = s.tasks.claim(); i < s.tasks.count();) {
      Task task{i, thread, s.tasks, s.tasks.count()};
      (*s.run)(task);
      if (fault::on(fault::Id::claimed_task_dropped)) task.claimed = s.tasks.count();
      i = task.claimed < s.tasks.count() ? task.claimed : s.tasks.claim();
    }
  };
  const int tasks = static_cast<int>(std::min<std::int64_t>(threads, count));
  if (tasks <= 1) return work(&shared, 0);
  plan::executor_of(options).run(tasks, work, &shared);
  if (shared.tasks.are_left()) work(&shared, 0);  // where it ran none
}

}  // namespace ragdot::cpu
