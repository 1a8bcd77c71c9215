// The two executors of the library: oneTBB's pool, and plain threads for each call.
#include <pthread.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <atomic>
#include <new>
#include <thread>
#include <vector>

#include "format/never_destroyed.hpp"
#include "plan/environment.hpp"
#include "ragdot/execution.hpp"

namespace ragdot {
namespace {

/// Whether this process is the child of a fork whose parent had used oneTBB: a worker that the child lacks may have held a lock
/// of oneTBB's at that moment, and then nobody releases it.
std::atomic<bool> lost_workers{false};

class TbbExecutor final : public Executor {
 public:
  TbbExecutor() {
    (void)pthread_atfork(nullptr, nullptr, [] { lost_workers.store(true, std::memory_order_relaxed); });
  }

  void run(int tasks, void (*task)(void* context, int index), void* context) override {
    if (lost_workers.load(std::memory_order_relaxed)) {
      for (int index = 0; index < tasks; ++index) task(context, index);
      return;
    }
    std::atomic<int> next{0};
    const auto one = [&] {
      const int index = next.fetch_add(1, std::memory_order_relaxed);
      if (index < tasks) task(context, index);
    };
    try {
      // Isolated, so that a thread which waits here takes no unrelated task of the caller's, and a group of the caller's that
      // is cancelled cancels none of these.
      tbb::task_group_context group(tbb::task_group_context::isolated);
      tbb::this_task_arena::isolate(
          [&] { tbb::parallel_for(0, tasks, [&](int) { one(); }, tbb::simple_partitioner(), group); });
    } catch (const std::bad_alloc&) {  // NOLINT(bugprone-empty-catch): oneTBB's own; what it has started has ended
    }
    while (next.load(std::memory_order_relaxed) < tasks) one();  // the caller does the rest
  }

  [[nodiscard]] int concurrency() const override {
    return lost_workers.load(std::memory_order_relaxed) ? 1 : tbb::this_task_arena::max_concurrency();
  }
};

class ThreadExecutor final : public Executor {
 public:
  void run(int tasks, void (*task)(void* context, int index), void* context) override {
    std::vector<std::thread> threads;
    int started = 1;
    try {
      threads.reserve(static_cast<std::size_t>(tasks));
      for (; started < tasks; ++started) threads.emplace_back(task, context, started);
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): no memory or no more threads, the caller does the rest
    }
    task(context, 0);
    for (int index = started; index < tasks; ++index) task(context, index);
    for (std::thread& thread : threads) thread.join();
  }

  [[nodiscard]] int concurrency() const override {
    const unsigned n = std::thread::hardware_concurrency();
    return n == 0 ? 1 : static_cast<int>(n);
  }
};

}  // namespace

Executor& tbb_executor() {
  static format::NeverDestroyed<TbbExecutor> executor;
  return *executor;
}

Executor& thread_executor() {
  static format::NeverDestroyed<ThreadExecutor> executor;
  return *executor;
}

Executor& default_executor() { return plan::environment().plain_threads ? thread_executor() : tbb_executor(); }

}  // namespace ragdot
