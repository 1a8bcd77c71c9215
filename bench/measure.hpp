// Interleaved rounds: every contender has one turn a round, so that all of them meet the same neighbours and clock rates.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace ragdot::bench {

struct Participant {
  std::function<void()> call;
  std::function<void()> leave;  // after each turn, for what would disturb the next one; may be empty
  double last_seconds = 0;      // of a call just before the first round; 0: there was none
};

/// When there are rounds enough.
struct Budget {
  double seconds = 1;  // for all rounds together
  std::int64_t least_rounds = 5;
  std::int64_t slow_rounds = 1;  // where least_rounds would pass the seconds
  std::int64_t most_rounds = 1000;
  double precision = 0.005;  // enough, once the 95 % interval of every median is this part of it to either side
};

using Clock = std::function<double()>;

/// Seconds of a clock that never goes back.
[[nodiscard]] double steady_seconds();

/// Seconds of each counted call, for each participant. In its turn a participant whose last call was short, or who had none,
/// makes one uncounted call and then the counted one, so that caches, clock rate and threads are its own. Each round has
/// another order, by chance but the same in every run. `after_round` gets the number of rounds done.
[[nodiscard]] std::vector<std::vector<double>> measure(std::span<const Participant> participants, const Budget& budget,
                                                       const std::function<void(std::int64_t)>& after_round,
                                                       const Clock& clock = steady_seconds);

}  // namespace ragdot::bench
