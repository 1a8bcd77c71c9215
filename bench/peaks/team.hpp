// The same work on several threads at once, timed from the first start to the last end.
#pragma once

#include <functional>

namespace ragdot::bench {

/// Calls work(i) for i in [0, threads), each on a thread of its own; all start together. Seconds until the last has ended.
[[nodiscard]] double seconds_at_once(int threads, const std::function<void(int)>& work);

}  // namespace ragdot::bench
