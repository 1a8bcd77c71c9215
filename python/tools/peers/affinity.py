"""The threads that do a contender's work, each on a CPU of its own.

Threads that slept are woken on whatever CPU the system likes: two on one CPU, now and then for the whole of a call. Then the same
contender takes once as long and once twice as long. A user's training loop keeps its threads awake; here others have their turn between
two calls."""

import os
from collections.abc import Callable
from pathlib import Path

WATCHED_CALLS = 5
TASKS = Path("/proc/self/task")


def run_times() -> dict[int, int]:
    """Nanoseconds on a CPU of each thread of this process."""
    times = {}
    for task in TASKS.iterdir():
        try:
            times[int(task.name)] = int((task / "schedstat").read_text().split()[0])
        except (OSError, ValueError):  # it has ended
            continue
    return times


def busiest(call: Callable[[], None], count: int) -> list[int]:
    """The `count` threads that ran longest during a few calls, longest first; threads that did not run are left out."""
    before = run_times()
    for _ in range(WATCHED_CALLS):
        call()
    ran = {thread: now - before.get(thread, 0) for thread, now in run_times().items()}
    return [thread for thread in sorted(ran, key=ran.get, reverse=True) if ran[thread] > 0][:count]


def spread_out(call: Callable[[], None]) -> None:
    """Gives each of the busiest threads one of this process's CPUs. Others may go on running anywhere."""
    cpus = sorted(os.sched_getaffinity(0))
    for thread, cpu in zip(busiest(call, len(cpus)), cpus):
        try:
            os.sched_setaffinity(thread, {cpu})
        except ProcessLookupError:
            continue
