// Interleaved rounds on a clock of its own: order, counts, and when there are rounds enough.
#include "bench/measure.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "bench/statistics.hpp"

namespace ragdot::bench {
namespace {

/// Participants that take a given time of a made clock, and note their calls.
struct Track {
  double now = 0;
  std::string calls;
  std::vector<Participant> participants;

  void add(char name, double seconds) {
    participants.push_back({[this, name, seconds] {
                              now += seconds;
                              calls += name;
                            },
                            [this, name] { calls += static_cast<char>(name - 'a' + 'A'); }});
  }
  std::vector<std::vector<double>> run(const Budget& budget) {
    return measure(participants, budget, [this](std::int64_t) { calls += ' '; }, [this] { return now; });
  }
};

TEST(Measure, RotatesTheOrderAndCountsOnlyTheSecondOfShortCalls) {
  Track track;
  track.add('a', 0.001);
  track.add('b', 1);  // long: warms itself up
  track.add('c', 0.002);
  const auto seconds = track.run({.seconds = 100, .least_rounds = 4, .precision = 1e-9});
  EXPECT_EQ(track.calls,
            "aAbBcC"
            "aaAbBccC "
            "bBccCaaA "
            "ccCaaAbB "
            "aaAbBccC ");
  ASSERT_EQ(seconds.size(), 3U);
  for (const auto& s : seconds) EXPECT_EQ(s.size(), 4U);
  EXPECT_NEAR(seconds[1][0], 1, 1e-9);
  EXPECT_NEAR(seconds[2][3], 0.002, 1e-9);
}

TEST(Measure, SlowCallsGetThreeRoundsAndSteadyOnesSeven) {
  Track slow;
  slow.add('a', 10);
  EXPECT_EQ(slow.run({.seconds = 1}).front().size(), 3U);
  Track steady;
  steady.add('a', 0.1);
  EXPECT_EQ(steady.run({.seconds = 100}).front().size(), 7U) << "its spread is zero";
}

TEST(Measure, UnsteadyCallsGoOnUntilTheTimeIsUsed) {
  Track track;
  double extra = 0;
  track.participants.push_back({[&] {
                                  extra = std::fmod(extra + 0.37, 1.0);
                                  track.now += 0.1 + 0.1 * extra;
                                },
                                {}});
  const auto seconds = track.run({.seconds = 6});
  EXPECT_GT(seconds.front().size(), 30U);
  EXPECT_NEAR(track.now, 6, 0.6);
}

TEST(Measure, NobodyIsNoRound) {
  int rounds = 0;
  EXPECT_TRUE(measure({}, {}, [&](std::int64_t) { ++rounds; }).empty());
  EXPECT_EQ(rounds, 0);
}

TEST(Statistics, QuartilesAndTheNotch) {
  const std::vector<double> seconds = {5, 1, 2, 4, 3};
  const Summary s = summarise(seconds);
  EXPECT_EQ(s.median, 3);
  EXPECT_EQ(s.min, 1);
  EXPECT_EQ(s.max, 5);
  EXPECT_EQ(s.q1, 2);
  EXPECT_EQ(s.q3, 4);
  EXPECT_EQ(s.runs, 5);
  EXPECT_DOUBLE_EQ(s.spread(), 2.0 / 3);
  EXPECT_DOUBLE_EQ(s.median_error(), 1.57 * (2.0 / 3) / std::sqrt(5.0));
  EXPECT_DOUBLE_EQ(summarise(std::vector<double>{1, 2}).median, 1.5);
  EXPECT_EQ(median_of({}), 0);
}

}  // namespace
}  // namespace ragdot::bench
