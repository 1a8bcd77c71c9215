// How a call runs: threads, tiling, a forced kernel, the caller's executor. None of it changes a bit of the result.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "ragdot/types.hpp"

namespace ragdot {

/// Runs tasks for a call. Derive from it to run on the pool of a framework.
class Executor {
 public:
  virtual ~Executor() = default;

  /// Calls task(context, i) once for every i in [0, tasks), on any threads in any order, and returns when all have returned.
  /// The calling thread must be able to do all of them alone. Tasks throw nothing. What an executor throws comes out of the
  /// call (std::bad_alloc as Code::out_of_memory), with out half written; its tasks must have returned by then. A task takes up
  /// to 192 KiB of stack. The caller's floating-point environment is put aside for the time of the call, so run() must not do
  /// unrelated work that depends on it.
  virtual void run(int tasks, void (*task)(void* context, int index), void* context) = 0;

  /// How many tasks can make progress at once; less than 1 counts as 1.
  [[nodiscard]] virtual int concurrency() const = 0;
};

/// Executor on oneTBB. One for the process, thread-safe. oneTBB takes as many threads as the first caller in the process might
/// run on: one, where that thread was bound to one processor.
[[nodiscard]] Executor& tbb_executor();

/// Executor that starts std::threads for each call: for sanitizers, and hosts without oneTBB's scheduler.
[[nodiscard]] Executor& thread_executor();

/// What a call runs on that names no executor: tbb_executor(), or thread_executor() where the environment had
/// RAGDOT_EXECUTOR=threads at the first call. (All variables of the environment are read once, at the first call.)
[[nodiscard]] Executor& default_executor();

/// Each thread of a call needs a workspace.
inline constexpr int kMostThreads = 1024;

struct Options {
  std::optional<Tiling> tiling;  // empty: chosen by the plan
  std::string_view kernel;       // empty: the first usable one, or the forced one (kernels.hpp)
  int threads = 0;               // 0: the executor's concurrency; more than kMostThreads count as so many
  Executor* executor = nullptr;  // null: default_executor()
  Strictness strictness = Strictness::ieee;
};

}  // namespace ragdot
