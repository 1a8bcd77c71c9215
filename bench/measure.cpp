// One turn a round for each participant, until the medians are known well enough or the time is used.
#include "bench/measure.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>

#include "bench/statistics.hpp"

namespace ragdot::bench {
namespace {

constexpr double kShort = 0.05;  // seconds; longer calls warm themselves up

bool precise(const std::vector<std::vector<double>>& seconds, double precision) {
  return std::all_of(seconds.begin(), seconds.end(),
                     [&](const std::vector<double>& s) { return median_error(s) <= precision; });
}

double timed(const Participant& participant, const Clock& clock) {
  const double start = clock();
  participant.call();
  return clock() - start;
}

}  // namespace

double steady_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::vector<std::vector<double>> measure(std::span<const Participant> participants, const Budget& budget,
                                         const std::function<void(std::int64_t)>& after_round, const Clock& clock) {
  const std::size_t count = participants.size();
  std::vector<std::vector<double>> seconds(count);
  if (count == 0) return seconds;
  std::vector<double> last(count);
  for (std::size_t i = 0; i < count; ++i) last[i] = participants[i].last_seconds;
  const auto turn = [&](std::size_t i) {
    const Participant& participant = participants[i];
    if (last[i] < kShort) participant.call();
    last[i] = timed(participant, clock);
    if (participant.leave) participant.leave();
  };
  const double start = clock();
  const auto enough = [&](std::int64_t rounds) {
    const bool late = clock() - start >= budget.seconds;
    if (rounds < budget.least_rounds) return late && rounds >= budget.slow_rounds;
    return late || rounds >= budget.most_rounds || precise(seconds, budget.precision);
  };
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937 random;  // from its own fixed seed
  for (std::int64_t rounds = 0; !enough(rounds);) {
    std::shuffle(order.begin(), order.end(), random);
    for (const std::size_t whose : order) {
      turn(whose);
      seconds[whose].push_back(last[whose]);
    }
    after_round(++rounds);
  }
  return seconds;
}

}  // namespace ragdot::bench
