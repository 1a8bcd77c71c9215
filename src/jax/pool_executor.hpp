// The library's executor on somebody else's pool of threads, such as XLA's.
#pragma once

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>

#include "ragdot/execution.hpp"

namespace ragdot::jax {

/// The tasks of one run. Helpers that start after the run has returned touch nothing but this, which they own a share of.
class SharedTasks {
 public:
  SharedTasks(int tasks, void (*task)(void* context, int index), void* context)
      : task_(task), context_(context), tasks_(tasks), left_(tasks) {}

  /// Does tasks until none is left to start.
  void take() {
    for (int index = next_.fetch_add(1); index < tasks_; index = next_.fetch_add(1)) {
      task_(context_, index);
      if (left_.fetch_sub(1) == 1) left_.notify_all();
    }
  }

  /// Returns when every task has returned.
  void wait() const {
    for (int left = left_.load(); left != 0; left = left_.load()) left_.wait(left);
  }

 private:
  void (*task_)(void* context, int index);
  void* context_;
  int tasks_;
  std::atomic<int> next_{0};
  std::atomic<int> left_;
};

/// Cores that this process may use. Asked once: it costs a system call.
inline int cores() {
  static const int kCores = [] {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(CPU_COUNT(&set), 1) : 1;
  }();
  return kCores;
}

/// With several devices on one host the pool says more threads than there are cores.
template <class Pool>
[[nodiscard]] int concurrency_of(const Pool& pool) {
  return static_cast<int>(std::clamp<std::int64_t>(pool.num_threads(), 1, cores()));
}

/// `Pool` has Schedule(f), which calls f() on some thread at some time, perhaps only after the run has returned, perhaps within
/// Schedule. The calling thread takes tasks as well, so that a pool whose threads are all busy delays nothing.
template <class Pool>
class PoolExecutor final : public Executor {
 public:
  /// `pool` has to outlive this; concurrency: 1 or more.
  PoolExecutor(Pool& pool, int concurrency) : pool_(pool), concurrency_(concurrency) {}

  void run(int tasks, void (*task)(void* context, int index), void* context) override {
    const auto shared = std::make_shared<SharedTasks>(tasks, task, context);
    try {
      for (int helper = 1; helper < std::min(tasks, concurrency_); ++helper) {
        pool_.Schedule([shared] { shared->take(); });
      }
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no memory for more helpers, the caller does the rest
    }
    shared->take();
    shared->wait();
  }

  [[nodiscard]] int concurrency() const override { return concurrency_; }

 private:
  Pool& pool_;
  int concurrency_;
};

}  // namespace ragdot::jax
