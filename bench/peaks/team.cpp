// Threads of its own, each on its own CPU: the tile registers and vector states of the library's threads stay untouched.
#include "bench/peaks/team.hpp"

#include <sched.h>

#include <algorithm>
#include <barrier>
#include <thread>
#include <vector>

#include "bench/measure.hpp"

namespace ragdot::bench {

namespace {

/// Pins the calling thread to the i-th of the CPUs that it may use; of too few nothing is pinned. Short-lived threads are
/// started on the CPU of their parent and would share it for a while, one after the other, when another program is on the next.
void take_cpu(int i) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || i >= CPU_COUNT(&allowed)) return;
  int left = i;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<unsigned>(cpu), &allowed) || left-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(cpu), &one);
    (void)sched_setaffinity(0, sizeof one, &one);
    return;
  }
}

}  // namespace

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
      take_cpu(i);
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
