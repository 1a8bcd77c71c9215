// What a call runs on, and with how many threads: what its options say, or what the executor has.
#pragma once

#include <algorithm>

#include "ragdot/execution.hpp"

namespace ragdot::plan {

inline Executor& executor_of(const Options& options) {
  return options.executor != nullptr ? *options.executor : default_executor();
}

/// From 1 to kMostThreads.
inline int threads_of(const Options& options) {
  return std::clamp(options.threads > 0 ? options.threads : executor_of(options).concurrency(), 1, kMostThreads);
}

}  // namespace ragdot::plan
