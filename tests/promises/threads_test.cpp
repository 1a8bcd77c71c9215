// Many threads in the library at once, executors of every temper, first use raced. Runs under ThreadSanitizer as well.
#include <gtest/gtest.h>
#include <tbb/parallel_for.h>
#include <tbb/task_group.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <thread>

#include "ragdot/quantize.hpp"
#include "tests/cases.hpp"

namespace ragdot::suites {
namespace {

constexpr int kThreads = 6;

/// Runs body(thread) on kThreads threads that begin together.
template <class Body>
void race(Body body) {
  std::barrier start(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      start.arrive_and_wait();
      body(t);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

struct Product {
  Sample sample;
  std::vector<std::byte> out;

  explicit Product(bool is_gmm)
      : sample(is_gmm ? make_gmm(gmm_grids().front(), touching({5, 0, 30}, 38, 140, 70), Data::mixed, 1)
                      : make_tgmm(tgmm_grids().front(), touching({5, 0, 130}, 138, 40, 70), Data::mixed, 1)),
        out(bytes()) {}
  [[nodiscard]] std::size_t bytes() const {
    return static_cast<std::size_t>(sample.out_batch() * sample.out_rows() * sample.out_cols() * 4);
  }
  [[nodiscard]] View view(std::vector<std::byte>& memory) const {
    return matrices(static_cast<void*>(memory.data()), Format::f32, sample.out_batch(), sample.out_rows(), sample.out_cols());
  }
  Status call(std::vector<std::byte>& memory, const Options& options) const {
    memory.assign(bytes(), std::byte{0xcd});
    return sample.is_gmm ? gmm(sample.gmm_args(sample.lhs.operand(), sample.rhs.operand(), view(memory)), options)
                         : tgmm(sample.tgmm_args(sample.lhs.operand(), sample.rhs.operand(), view(memory)), options);
  }
};

/// What a thread saw, compared when all have ended: GoogleTest's checks would put the threads in a line.
struct Seen {
  Status status;
  std::vector<std::byte> out;
};

void expect_all(const Product& product, const std::vector<Seen>& seen, const std::string& what) {
  Options options;
  options.threads = 1;
  std::vector<std::byte> expected;
  ASSERT_TRUE(product.call(expected, options).ok());
  for (const Seen& s : seen) {
    ASSERT_TRUE(s.status.ok()) << what << ": " << s.status.message();
    expect_same(product.sample, expected, s.out, what);
  }
}

/// The first test of the program: dispatch, the kernels' checks of themselves and the executor begin under six threads.
TEST(AFirstUse, IsRaced) {
  const Product product(true);
  std::vector<Seen> seen(kThreads);
  race([&](int t) {
    auto& mine = seen[static_cast<std::size_t>(t)];
    mine.status = product.call(mine.out, {});
  });
  expect_all(product, seen, "first use");
}

TEST(Concurrency, CallsOfEveryKind) {
  const Product forward(true);
  const Product backward(false);
  std::vector<Seen> seen_forward(kThreads);
  std::vector<Seen> seen_backward(kThreads);
  std::vector<std::vector<std::byte>> copies(kThreads);
  const std::vector<KernelInfo> kernels = list_kernels();
  race([&](int t) {
    const auto i = static_cast<std::size_t>(t);
    for (int call = 0; call < 5; ++call) {
      Options options;
      options.threads = 1 + t % 3;
      const KernelInfo& kernel = kernels[(i + static_cast<std::size_t>(call)) % kernels.size()];
      if (kernel.usable) options.kernel = kernel.name;
      seen_forward[i].status = forward.call(seen_forward[i].out, options);
      seen_backward[i].status = backward.call(seen_backward[i].out, options);
      copies[i].assign(40 * 60 + 40 * 4, std::byte{0});
      const ConstView input = matrix(static_cast<const void*>(forward.sample.lhs.values.data()), Format::bf16, 40, 60);
      const QuantizedOut out = {matrix(static_cast<void*>(copies[i].data()), Format::e4m3, 40, 60),
                                {matrix(static_cast<void*>(copies[i].data() + 2400), Format::f32, 40, 1), 1, 128}};
      options.kernel = "";
      if (!quantize({input, std::nullopt, out}, options).ok()) copies[i].clear();
    }
  });
  expect_all(forward, seen_forward, "gmm");
  expect_all(backward, seen_backward, "tgmm");
  for (const auto& copy : copies) EXPECT_EQ(copy, copies.front());
  EXPECT_FALSE(copies.front().empty());
}

/// A plan and packed weights made by one thread and used by all; each has its own workspace.
TEST(Concurrency, OnePlanAndOnePack) {
  const Product product(true);
  for (const std::string& kernel : kernels_for(product.sample, product.sample.lhs.operand(), product.sample.rhs.operand())) {
    Options options;
    options.kernel = kernel;
    options.threads = 2;
    const auto packed = pack_rhs(product.sample.rhs.operand(), options);
    ASSERT_TRUE(packed.ok()) << packed.status().message();
    std::vector<std::byte> unused(product.bytes());
    GmmArgs args = product.sample.gmm_args(product.sample.lhs.operand(), {}, product.view(unused));
    args.packed_rhs = packed.value();
    const auto plan = make_plan(args, options);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    std::vector<Seen> seen(kThreads);
    race([&](int t) {
      auto& mine = seen[static_cast<std::size_t>(t)];
      std::vector<std::byte> workspace(plan.value().workspace_bytes());
      for (int call = 0; call < 5; ++call) {
        mine.out.assign(product.bytes(), std::byte{0xcd});
        GmmArgs own = args;
        own.out = product.view(mine.out);
        mine.status = run(plan.value(), own, workspace);
      }
    });
    expect_all(product, seen, "one plan, kernel " + kernel);
  }
}

TEST(Concurrency, ForcingKernelsMeanwhile) {
  const Product product(true);
  std::vector<Seen> seen(kThreads);
  race([&](int t) {
    auto& mine = seen[static_cast<std::size_t>(t)];
    for (int call = 0; call < 10; ++call) {
      if (t == 0) mine.status = force_kernel(call % 2 == 0 ? "portable" : "");
      if (t == 1) (void)list_kernels();
      mine.status = product.call(mine.out, {});
    }
  });
  ASSERT_TRUE(force_kernel("").ok());
  expect_all(product, seen, "kernels forced meanwhile");
}

/// An executor of a caller's: how it runs tasks is the test's.
class Caller final : public Executor {
 public:
  using Run = void (*)(int tasks, void (*task)(void*, int), void* context);
  Caller(int most_at_once, Run how) : concurrency_(most_at_once), run_(how) {}
  [[nodiscard]] int concurrency() const override { return concurrency_; }
  void run(int tasks, void (*task)(void*, int), void* context) override {
    most_ = std::max(most_, tasks);
    run_(tasks, task, context);
  }
  [[nodiscard]] int most() const { return most_; }

 private:
  int concurrency_;
  Run run_;
  int most_ = 0;
};

void forwards(int tasks, void (*task)(void*, int), void* context) {
  for (int i = 0; i < tasks; ++i) task(context, i);
}
void backwards(int tasks, void (*task)(void*, int), void* context) {
  for (int i = tasks - 1; i >= 0; --i) task(context, i);
}
/// Every task on a thread of its own that begins late, the last one first.
void late(int tasks, void (*task)(void*, int), void* context) {
  std::vector<std::thread> threads;
  for (int i = 0; i < tasks; ++i) {
    threads.emplace_back([=] {
      std::this_thread::sleep_for(std::chrono::milliseconds(2 * (tasks - i)));
      task(context, i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}
/// Twice the threads, half of which find nothing left.
void crowded(int tasks, void (*task)(void*, int), void* context) {
  std::atomic<int> next{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2 * tasks; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; (i = next.fetch_add(1)) < tasks;) task(context, i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}
/// Against its contract, as one of a pool that is being shut down.
void none(int, void (*)(void*, int), void*) {}

TEST(Executors, OfEveryTemper) {
  for (const Caller::Run run : {forwards, backwards, late, crowded, none}) {
    for (const int concurrency : {1, 4}) {
      for (const bool is_gmm : {true, false}) {
        const Product product(is_gmm);
        for (const std::string& kernel :
             kernels_for(product.sample, product.sample.lhs.operand(), product.sample.rhs.operand())) {
          Caller caller(concurrency, run);
          Options options;
          options.executor = &caller;
          options.kernel = kernel;
          options.tiling = Tiling{8, 64, 32};
          std::vector<Seen> seen(1);
          seen[0].status = product.call(seen[0].out, options);
          expect_all(product, seen, "kernel " + kernel);
          EXPECT_EQ(caller.most(), concurrency == 1 ? 0 : concurrency);
        }
      }
    }
  }
}

/// As when a sibling of the task that calls has thrown.
TEST(Executors, ACancelledGroupOfTheCallersCancelsNoTask) {
  int ran = 0;
  tbb::task_group_context context;
  const auto count = [](void* sum, int index) { static_cast<std::atomic<int>*>(sum)->fetch_add(index + 1); };
  tbb::parallel_for(
      0, 1,
      [&](int) {
        context.cancel_group_execution();
        std::atomic<int> sum{0};
        tbb_executor().run(8, count, &sum);
        ran = sum;
      },
      tbb::simple_partitioner(), context);
  EXPECT_EQ(ran, 36);
}

/// A call inside a task of the executor that the call itself uses.
TEST(Executors, CallsWithinTasks) {
  for (Executor* executor : {&default_executor(), &thread_executor()}) {
    const Product product(true);
    struct Context {
      const Product* product;
      Executor* executor;
      std::vector<Seen> seen;
    } context{&product, executor, std::vector<Seen>(4)};
    executor->run(
        4,
        [](void* at, int i) {
          auto& c = *static_cast<Context*>(at);
          Options options;
          options.executor = c.executor;
          options.threads = 3;
          auto& mine = c.seen[static_cast<std::size_t>(i)];
          mine.status = c.product->call(mine.out, options);
        },
        &context);
    expect_all(product, context.seen, "a call within a task");
  }
}

}  // namespace
}  // namespace ragdot::suites
