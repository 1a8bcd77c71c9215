// An executor without threads.
#pragma once

#include "ragdot/execution.hpp"

namespace ragdot::suites {

/// Runs the tasks on the calling thread.
class OneThread final : public Executor {
 public:
  [[nodiscard]] int concurrency() const override { return 1; }
  void run(int tasks, void (*task)(void*, int), void* context) override {
    for (int i = 0; i < tasks; ++i) task(context, i);
  }
};

}  // namespace ragdot::suites
