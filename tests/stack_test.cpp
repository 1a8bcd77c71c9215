// A task takes no more stack than execution.hpp promises: it runs on a thread whose stack is painted, and what is left of the
// paint tells how deep it went.
#include <gtest/gtest.h>

#include <pthread.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "tests/cases.hpp"
#include "tests/layouts.hpp"

namespace ragdot::suites {
namespace {

constexpr std::size_t kPromisedBytes = std::size_t{192} << 10;
constexpr std::size_t kStackBytes = std::size_t{512} << 10;

/// Runs the tasks one after the other, each on a painted stack, and keeps the most bytes that one took.
class Painted final : public Executor {
 public:
  [[nodiscard]] int concurrency() const override { return 2; }

  void run(int tasks, void (*task)(void* context, int index), void* context) override {
    for (int i = 0; i < tasks; ++i) run_one({task, context, i, nullptr});
  }

  std::size_t most = 0;
  int tasks_run = 0;

 private:
  static constexpr std::size_t kPage = 4096;
  static constexpr std::byte kPaint{0xa5};

  struct Page {
    alignas(kPage) std::byte bytes[kPage];
  };

  struct Task {
    void (*task)(void* context, int index);
    void* context;
    int index;
    const std::byte* top;  // of the stack, as the thread finds it
  };

  static void* start(void* argument) {
    auto* task = static_cast<Task*>(argument);
    task->top = static_cast<const std::byte*>(__builtin_frame_address(0));
    task->task(task->context, task->index);
    return nullptr;
  }

  void run_one(Task task) {
    std::byte* bottom = stack_[0].bytes;
    std::fill_n(bottom, kStackBytes, kPaint);
    pthread_attr_t attributes;
    ASSERT_EQ(pthread_attr_init(&attributes), 0);
    ASSERT_EQ(pthread_attr_setstack(&attributes, bottom, kStackBytes), 0);
    pthread_t thread{};
    ASSERT_EQ(pthread_create(&thread, &attributes, start, &task), 0);
    ASSERT_EQ(pthread_join(thread, nullptr), 0);
    pthread_attr_destroy(&attributes);
    const std::byte* deepest = std::find_if(bottom, bottom + kStackBytes, [](std::byte b) { return b != kPaint; });
    ASSERT_NE(deepest, bottom) << "the stack is too small to tell";
    most = std::max(most, static_cast<std::size_t>(task.top - deepest));
    ++tasks_run;
  }

  std::unique_ptr<Page[]> stack_{new Page[kStackBytes / kPage]};
};

void expect_little(Painted& stack, const GmmArgs& args, const Options& options, const std::string& what) {
  stack.most = 0;
  stack.tasks_run = 0;
  const Status status = gmm(args, options);
  ASSERT_TRUE(status.ok()) << what << ": " << status.message();
  EXPECT_GE(stack.tasks_run, 2) << what;
  EXPECT_GT(stack.most, 0U) << what;
  EXPECT_LE(stack.most, kPromisedBytes) << what;
}

TEST(Stack, OfATaskIsNoLargerThanPromised) {
#ifdef RAGDOT_SANITIZED
  GTEST_SKIP() << "sanitizers take stack of their own";
#endif
  Painted stack;
  Options options;
  options.executor = &stack;
  for (const std::size_t grids : {std::size_t{0}, std::size_t{1}, std::size_t{11}}) {  // blockwise, blockwise_e8m0, bf16
    for (const std::int64_t rows : {1, 2, 4, 8, 16, 200}) {
      const Sample s =
          make_gmm(gmm_grids()[grids], touching({rows, rows}, 2 * rows, 1056, rows == 200 ? 300 : 96), Data::mixed, 1);
      in_every_layout(s, options, gmm_grids()[grids].name + ", " + std::to_string(rows) + " rows",
                      [&](const GmmArgs& args, const Options& chosen, const std::string& what) {
                        expect_little(stack, args, chosen, what);
                      });
    }
  }
}

}  // namespace
}  // namespace ragdot::suites
