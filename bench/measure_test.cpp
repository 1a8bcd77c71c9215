// Interleaved rounds on a clock of its own: order, counts, and when there are rounds enough.
#include "bench/measure.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <sstream>
#include <string>

#include "bench/statistics.hpp"

namespace ragdot::bench {
namespace {

/// Participants that take a given time of a made clock, and note their calls.
struct Track {
  double now = 0;
  std::string calls;
  std::vector<Participant> participants;

  void add(char name, double seconds, double last_seconds = 0) {
    participants.push_back({[this, name, seconds] {
                              now += seconds;
                              calls += name;
                            },
                            [this, name] { calls += static_cast<char>(name - 'a' + 'A'); }, last_seconds});
  }
  std::vector<std::vector<double>> run(const Budget& budget) {
    return measure(participants, budget, [this](std::int64_t) { calls += ' '; }, [this] { return now; });
  }
};

TEST(Measure, EachHasATurnInEveryRoundAndOnlyTheSecondOfShortCallsCounts) {
  Track track;
  track.add('a', 0.001);
  track.add('b', 1, 1);  // long: warms itself up
  track.add('c', 0.002);
  const auto seconds = track.run({.seconds = 100, .least_rounds = 4, .precision = 1e-9});
  std::istringstream rounds(track.calls);
  int count = 0;
  for (std::string round; rounds >> round; ++count) {
    for (const char* turn : {"aaA", "bB", "ccC"}) EXPECT_NE(round.find(turn), std::string::npos) << round;
    EXPECT_EQ(round.size(), 8U) << round;
  }
  EXPECT_EQ(count, 4);
  ASSERT_EQ(seconds.size(), 3U);
  for (const auto& s : seconds) EXPECT_EQ(s.size(), 4U);
  EXPECT_NEAR(seconds[1][0], 1, 1e-9);
  EXPECT_NEAR(seconds[2][3], 0.002, 1e-9);
}

TEST(Measure, NobodyFollowsTheSameOneInMostRounds) {
  Track track;
  for (const char name : {'a', 'b', 'c', 'd'}) track.add(name, 0.1);  // calls aaA: a turn
  const auto seconds = track.run({.seconds = 1e6, .least_rounds = 240, .precision = 1e-9});
  std::map<std::string, int> pairs;
  for (std::size_t at = track.calls.find('A'); at != std::string::npos; at = track.calls.find('A', at + 1))
    ++pairs[track.calls.substr(at + 1, 1)];
  EXPECT_EQ(pairs.size(), 4U) << "b, c, d, or the end of the round";
  for (const auto& [next, count] : pairs) EXPECT_NEAR(count, 60, 25) << next;
  EXPECT_EQ(seconds.front().size(), 240U);
}

TEST(Measure, SlowCallsGetOneRoundAndSteadyOnesFive) {
  Track slow;
  slow.add('a', 10);
  EXPECT_EQ(slow.run({.seconds = 1}).front().size(), 1U);
  Track steady;
  steady.add('a', 0.1);
  EXPECT_EQ(steady.run({.seconds = 100}).front().size(), 5U) << "its spread is zero";
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

TEST(Statistics, TheMedianIsThatOfTheStartsMedians) {
  const std::vector<Timings> starts = {{5, 1, 2, 4, 3}, {}, {8, 6, 7}, {4}};
  const Summary s = summarise(starts);
  EXPECT_EQ(s.starts, (Timings{3, 7, 4})) << "a start without timings is none";
  EXPECT_EQ(s.median, 4);
  EXPECT_EQ(s.low(), 3);
  EXPECT_EQ(s.high(), 7);
  EXPECT_EQ(s.min, 1);
  EXPECT_EQ(s.max, 8);
  EXPECT_EQ(s.q1, 3);
  EXPECT_EQ(s.q3, 6);
  EXPECT_EQ(s.runs, 9);
  EXPECT_EQ(summarise({}).median, 0);
  EXPECT_EQ(summarise({}).high(), 0);
}

TEST(Statistics, TheNotch) {
  EXPECT_DOUBLE_EQ(median_error(Timings{5, 1, 2, 4, 3}), 1.57 * (2.0 / 3) / std::sqrt(5.0));
  EXPECT_EQ(median_error({}), 0);
  EXPECT_DOUBLE_EQ(median_of(Timings{1, 2}), 1.5);
  EXPECT_EQ(median_of({}), 0);
}

TEST(Statistics, WhatBothShareCancelsInAQuotient) {
  const Summary base = summarise(std::vector<Timings>{{1}, {2}, {3}});
  const Summary twice = summarise(std::vector<Timings>{{2}, {4}, {6.6}});
  const Quotient q = quotient_of(twice, base);
  EXPECT_DOUBLE_EQ(q.value, 2);
  EXPECT_DOUBLE_EQ(q.low, 2);
  EXPECT_DOUBLE_EQ(q.high, 2.2);
  const Quotient outside =
      quotient_of(summarise(std::vector<Timings>{{1}, {4}, {9}}), summarise(std::vector<Timings>{{3}, {2}, {1}}));
  EXPECT_DOUBLE_EQ(outside.value, 2);
  EXPECT_DOUBLE_EQ(outside.low, 1.0 / 3);
  EXPECT_DOUBLE_EQ(outside.high, 9);
}

TEST(Statistics, AQuotientIsThatOfMostRounds) {
  // The machine halves its speed between two turns of the third round of the first start.
  const std::vector<Timings> base = {{1, 1, 1, 2, 2}, {1, 1, 1}};
  const std::vector<Timings> twice = {{2, 2, 4, 4, 4}, {2.5, 2.5, 2.5}};
  const Quotient q = quotient_of(summarise(twice), summarise(base));
  EXPECT_DOUBLE_EQ(q.low, 2) << "the medians' is 4";
  EXPECT_DOUBLE_EQ(q.high, 2.5);
  EXPECT_DOUBLE_EQ(q.value, 2.25);
  EXPECT_EQ(quotient_of({}).high, 0);
  Summary unknown = summarise(twice);
  unknown.rounds.clear();
  EXPECT_DOUBLE_EQ(quotient_of(unknown, summarise(base)).high, 4);
}

}  // namespace
}  // namespace ragdot::bench
