// Runs the tasks of a call on the calling thread: a fuzzer starts no threads, and the same input takes the same way.
#pragma once

#include "ragdot/execution.hpp"

namespace ragdot::fuzz {

class SerialExecutor final : public Executor {
 public:
  /// The last task first: no task may lean on one before it.
  void run(int tasks, void (*task)(void* context, int index), void* context) override {
    for (int index = tasks; index-- > 0;) task(context, index);
  }
  [[nodiscard]] int concurrency() const override { return 1; }
};

}  // namespace ragdot::fuzz
