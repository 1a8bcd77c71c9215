// Packing runs on as many threads as its call has, and no more than there are blocks of columns.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "ragdot/ragdot.hpp"

namespace ragdot::cpu {
namespace {

/// Runs every task on the calling thread and keeps how many there were in each run.
class Counting final : public Executor {
 public:
  void run(int tasks, void (*task)(void* context, int index), void* context) override {
    runs.push_back(tasks);
    for (int i = 0; i < tasks; ++i) task(context, i);
  }
  [[nodiscard]] int concurrency() const override { return 5; }

  std::vector<int> runs;
};

/// The tasks of packing weights of two matrices with so many columns.
std::vector<int> tasks_of(std::int64_t cols, int threads) {
  constexpr std::int64_t kDepth = 40;
  const std::vector<std::uint8_t> values(static_cast<std::size_t>(2 * kDepth * cols));
  Counting executor;
  Options options;
  options.executor = &executor;
  options.threads = threads;
  const auto packed = pack_rhs(matrices(static_cast<const void*>(values.data()), Format::e4m3, 2, kDepth, cols), options);
  EXPECT_TRUE(packed.ok()) << packed.status().message();
  return executor.runs;
}

using Tasks = std::vector<int>;

TEST(PackedWeights, AreMadeOnTheThreadsOfTheCall) {
  EXPECT_EQ(tasks_of(320, 3), Tasks{3});
  EXPECT_EQ(tasks_of(320, 20), Tasks{20}) << "two matrices of ten blocks";
  EXPECT_EQ(tasks_of(320, 0), Tasks{5}) << "those of the executor";
}

TEST(PackedWeights, AreMadeOnNoMoreThreadsThanThereAreBlocks) {
  EXPECT_EQ(tasks_of(40, 20), Tasks{4});
  EXPECT_EQ(tasks_of(20, 20), Tasks{2});
}

TEST(PackedWeights, OfOneThreadNeedNoExecutor) { EXPECT_EQ(tasks_of(320, 1), Tasks{}); }

}  // namespace
}  // namespace ragdot::cpu
