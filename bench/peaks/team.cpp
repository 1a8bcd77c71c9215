// Threads of its own: the tile registers and vector states of the library's threads stay untouched.
#include "bench/peaks/team.hpp"

#include <algorithm>
#include <barrier>
#include <thread>
#include <vector>

#include "bench/measure.hpp"

namespace ragdot::bench {

double seconds_at_once(int threads, const std::function<void(int)>& work) {
  struct Times {
    double start = 0;
    double end = 0;
  };
  std::vector<Times> times(static_cast<std::size_t>(threads));
  std::barrier together(threads);
  std::vector<std::thread> team;
  team.reserve(times.size());
  for (int i = 0; i < threads; ++i) {
    team.emplace_back([&, i] {
      Times& t = times[static_cast<std::size_t>(i)];
      together.arrive_and_wait();
      t.start = steady_seconds();
      work(i);
      t.end = steady_seconds();
    });
  }
  for (std::thread& thread : team) thread.join();
  const auto by_start = [](const Times& a, const Times& b) { return a.start < b.start; };
  const auto by_end = [](const Times& a, const Times& b) { return a.end < b.end; };
  return std::max_element(times.begin(), times.end(), by_end)->end -
         std::min_element(times.begin(), times.end(), by_start)->start;
}

}  // namespace ragdot::bench
