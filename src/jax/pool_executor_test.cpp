// Every task once, whatever the pool does with its helpers: runs them now, on threads, too late, or never.
#include "jax/pool_executor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <functional>
#include <new>
#include <thread>
#include <vector>

namespace ragdot::jax {
namespace {

using testing::Each;

/// Counts how often each task ran.
struct Counts {
  explicit Counts(int tasks) : of(static_cast<std::size_t>(tasks)) {}
  static void count(void* context, int index) { ++static_cast<Counts*>(context)->of[static_cast<std::size_t>(index)]; }
  [[nodiscard]] std::vector<int> seen() const { return {of.begin(), of.end()}; }
  std::vector<std::atomic<int>> of;
};

struct ThreadPool {
  void Schedule(std::function<void()> f) { threads.emplace_back(std::move(f)); }
  std::vector<std::jthread> threads;
};

struct LatePool {
  void Schedule(std::function<void()> f) { kept.push_back(std::move(f)); }
  std::vector<std::function<void()>> kept;
};

struct InlinePool {
  void Schedule(const std::function<void()>& f) const { f(); }
};

struct FullPool {
  void Schedule(const std::function<void()>&) const { throw std::bad_alloc(); }
};

constexpr int kTasks = 7;

template <class Pool>
void run_counted(Pool& pool, int concurrency, Counts& counts) {
  PoolExecutor executor(pool, concurrency);
  executor.run(kTasks, &Counts::count, &counts);
}

TEST(PoolExecutor, RunsEveryTaskOnceOnThreads) {
  for (int round = 0; round < 200; ++round) {
    ThreadPool pool;
    Counts counts(kTasks);
    run_counted(pool, 4, counts);
    EXPECT_THAT(counts.seen(), Each(1)) << "round " << round;
    EXPECT_EQ(pool.threads.size(), 3U);
  }
}

TEST(PoolExecutor, NeedsNoHelper) {
  LatePool pool;
  {
    Counts counts(kTasks);
    run_counted(pool, 3, counts);
    EXPECT_THAT(counts.seen(), Each(1));
  }
  ASSERT_EQ(pool.kept.size(), 2U);
  for (const auto& late : pool.kept) late();  // the counts are gone by now
}

TEST(PoolExecutor, TakesAPoolThatRunsHelpersAtOnce) {
  InlinePool pool;
  Counts counts(kTasks);
  run_counted(pool, 2, counts);
  EXPECT_THAT(counts.seen(), Each(1));
}

TEST(PoolExecutor, GoesOnWithoutMemoryForHelpers) {
  FullPool pool;
  Counts counts(kTasks);
  run_counted(pool, 2, counts);
  EXPECT_THAT(counts.seen(), Each(1));
}

/// A task that is still running on a helper when the caller has nothing left to start.
TEST(PoolExecutor, WaitsForTasksOfHelpers) {
  struct Meeting {
    std::thread::id caller = std::this_thread::get_id();
    std::atomic<int> arrived{0};
    std::atomic<int> finished{0};
    static void meet(void* context, int) {
      auto* meeting = static_cast<Meeting*>(context);
      ++meeting->arrived;
      while (meeting->arrived < 2) std::this_thread::yield();  // both tasks are on threads of their own
      if (std::this_thread::get_id() != meeting->caller) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      ++meeting->finished;
    }
  } meeting;
  ThreadPool pool;
  PoolExecutor executor(pool, 2);
  executor.run(2, &Meeting::meet, &meeting);
  EXPECT_EQ(meeting.finished, 2);
}

struct SizedPool {
  std::int64_t threads;
  [[nodiscard]] std::int64_t num_threads() const { return threads; }
};

TEST(PoolExecutor, HasNoMoreThreadsThanThereAreCores) {
  cpu_set_t set;
  ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  const int cores = CPU_COUNT(&set);
  EXPECT_EQ(concurrency_of(SizedPool{cores}), cores);
  EXPECT_EQ(concurrency_of(SizedPool{cores + 1}), cores);
  EXPECT_EQ(concurrency_of(SizedPool{std::int64_t{1} << 40}), cores);
  EXPECT_EQ(concurrency_of(SizedPool{1}), 1);
  EXPECT_EQ(concurrency_of(SizedPool{0}), 1);
  EXPECT_EQ(concurrency_of(SizedPool{-1}), 1) << "a pool that does not know";
}

TEST(PoolExecutor, GivesTheLibraryItsConcurrency) {
  LatePool pool;
  EXPECT_EQ(PoolExecutor(pool, 5).concurrency(), 5);
}

}  // namespace
}  // namespace ragdot::jax
