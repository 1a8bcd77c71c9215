// The executor on OpenMP threads, on runtimes that give all threads, fewer, or the calling one alone.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "ragdot/ragdot.h"

namespace ragdot::api {
namespace {

unsigned asked = 0;
unsigned least = 0;  // threads that the runtime below does not give

void parallel(void (*body)(void* data), void* data, unsigned threads, unsigned flags) {
  EXPECT_EQ(flags, 0U);
  asked = threads;
  std::vector<std::thread> team;
  for (unsigned i = 1; i + least < threads; ++i) team.emplace_back(body, data);
  body(data);
  for (std::thread& thread : team) thread.join();
}

int four() { return 4; }
int none() { return 0; }

struct Count {
  std::vector<std::atomic<int>> done;
};

void count(void* context, int32_t index) { ++static_cast<Count*>(context)->done[static_cast<std::size_t>(index)]; }

void expect_each_once(ragdot_openmp& openmp, int32_t tasks) {
  Count counted{std::vector<std::atomic<int>>(static_cast<std::size_t>(tasks))};
  ragdot_openmp_run(&openmp, tasks, count, &counted);
  for (const auto& times : counted.done) EXPECT_EQ(times, 1);
}

TEST(CAbiOpenmp, DoesEveryTaskOnceOnAnyNumberOfThreads) {
  ragdot_openmp openmp{parallel, four};
  EXPECT_EQ(ragdot_openmp_concurrency(&openmp), 4);
  for (least = 0; least < 4; ++least) {
    for (const int32_t tasks : {0, 1, 3, 4, 50}) expect_each_once(openmp, tasks);
  }
  least = 0;
}

TEST(CAbiOpenmp, DoesAllItselfWhereAnythingIsNull) {
  ragdot_openmp without_threads{parallel, nullptr};
  ragdot_openmp without_parallel{nullptr, four};
  for (ragdot_openmp* openmp : {&without_threads, &without_parallel}) {
    EXPECT_EQ(ragdot_openmp_concurrency(openmp), 1);
    expect_each_once(*openmp, 5);
  }
  EXPECT_EQ(ragdot_openmp_concurrency(nullptr), 1);
  Count counted{std::vector<std::atomic<int>>(2)};
  ragdot_openmp_run(nullptr, 2, count, &counted);
  EXPECT_EQ(counted.done[1], 1);
}

TEST(CAbiOpenmp, AsksForNoMoreThreadsThanTasksAndAtLeastOne) {
  ragdot_openmp openmp{parallel, four};
  expect_each_once(openmp, 3);
  EXPECT_EQ(asked, 3U);
  expect_each_once(openmp, 9);
  EXPECT_EQ(asked, 4U);
  openmp.max_threads = none;
  EXPECT_EQ(ragdot_openmp_concurrency(&openmp), 1);
  expect_each_once(openmp, 9);
  EXPECT_EQ(asked, 1U);
}

}  // namespace
}  // namespace ragdot::api
