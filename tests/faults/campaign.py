#!/usr/bin/env python3
"""Runs the suites on each planted fault until two of them have caught it, cheap suites first. Exit 1 when one caught by fewer."""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/results/trust/faults.md"
ENOUGH = 2  # suites that have to catch a fault
ALL = 1 << 30
PATIENCE_S = 120  # beyond twenty times what a suite takes without a fault: then it hangs

Outcome = collections.namedtuple("Outcome", "failed how seconds")  # how: "", "crash" or "hang"


class Suites:
    """One process of the program with one fault, started anew when a suite brings it down."""

    def __init__(self, program: str, fault: str):
        self.command = [program, "--one-by-one", fault, str(ALL)]
        self.process = None

    def run(self, suite: str, limit_s: float) -> Outcome:
        if self.process is None:
            pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
            self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=nothing, text=True, errors="replace")
        process, start = self.process, time.monotonic()
        timer = threading.Timer(limit_s, process.kill)
        timer.start()
        try:
            process.stdin.write(suite + "\n")
            process.stdin.flush()
            for line in process.stdout:
                field = line.rstrip("\n").split("\t")
                if field[0] == "result" and field[1] == suite:
                    return Outcome(field[2] == "failed", "", float(field[3]))
        except BrokenPipeError:
            pass
        finally:
            timer.cancel()
        self.process = None
        code, seconds = process.wait(), time.monotonic() - start
        if code == 2:
            raise SystemExit(f"campaign: {' '.join(self.command)} does not know suite {suite}")
        return Outcome(True, "hang" if seconds >= limit_s else "crash", seconds)

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate()


def lines_of(program: str, option: str) -> list[str]:
    return subprocess.run([program, option], check=True, capture_output=True, text=True).stdout.splitlines()


def without_fault(program: str, jobs: int) -> dict[str, float]:
    """Seconds of each suite; ends the campaign where one fails."""
    todo = collections.deque(lines_of(program, "--suites"))
    seconds = {}

    def work() -> None:
        suites = Suites(program, "none")
        while todo:
            suite = todo.popleft()
            outcome = suites.run(suite, 1800)
            if outcome.failed:
                raise SystemExit(f"campaign: {suite} fails without any fault; {program} none shows how")
            seconds[suite] = outcome.seconds
        suites.close()

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(work) for _ in range(jobs)]:
            done.result()
    return seconds


def catchers(program: str, fault: str, seconds: dict[str, float], enough: int) -> list[str]:
    """The suites that catch a fault, at most `enough`, cheap ones first."""
    suites, caught = Suites(program, fault), []
    for suite in sorted(seconds, key=lambda s: (seconds[s], s)):
        outcome = suites.run(suite, PATIENCE_S + 20 * seconds[suite])
        if outcome.failed:
            caught.append(suite + (f" ({outcome.how})" if outcome.how else ""))
        if len(caught) >= enough:
            break
    suites.close()
    return caught


def cpu_name() -> str:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU")


def write_page(rows: list[tuple[str, str, str, list[str]]], command: str, full: bool) -> None:
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    escaped = sum(not why and len(caught) < ENOUGH for _, _, why, caught in rows)
    skipped = sum(bool(why) for _, _, why, _ in rows)
    text = [
        "# faults: mistakes planted in the library, and the suites that catch them",
        "",
        f"`{command}` at {commit} on {cpu_name()}: {len(rows)} faults, {escaped} caught by fewer than {ENOUGH} suites, {skipped} skipped. "
        + ("Each fault met every suite." if full else f"A fault's run ends with the {ENOUGH}nd suite that catches it; cheap suites come first."),
        "",
        "| fault | what is wrong | by | caught by |",
        "|---|---|---|---|",
    ]
    for name, what, why, caught in rows:
        text.append(f"| `{name}` | {what} | {len(caught)} | {f'skipped: {why}' if why else ', '.join(caught)} |")
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(text) + "\n")
    print(f"written: {PAGE.relative_to(ROOT)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="faulty_suites")
    parser.add_argument("faults", nargs="*", help="only these")
    parser.add_argument("--full", action="store_true", help="every suite on every fault: an hour")
    parser.add_argument("--results", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (suites use threads of their own)")
    args = parser.parse_args()
    start = time.monotonic()
    known = [line.split("\t") for line in lines_of(args.program, "--list")]
    if unknown := set(args.faults) - {name for name, _, _ in known}:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; {args.program} --list names them")
    seconds = without_fault(args.program, args.jobs)
    print(f"{len(seconds)} suites pass without a fault, {time.monotonic() - start:.0f} s", flush=True)

    def run(entry: list[str]) -> tuple[str, str, str, list[str]]:
        name, what, why = entry
        caught = [] if why else catchers(args.program, name, seconds, ALL if args.full else ENOUGH)
        verdict = f"skipped: {why}" if why else ("caught" if len(caught) >= ENOUGH else "ESCAPED") + f" by {len(caught)}: {', '.join(caught)}"
        print(f"{name:<34} {verdict}", flush=True)
        return name, what, why, caught

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(run, [entry for entry in known if not args.faults or entry[0] in args.faults]))
    escaped = [name for name, _, why, caught in rows if not why and len(caught) < ENOUGH]
    skipped = sum(bool(why) for _, _, why, _ in rows)
    print(f"{len(rows)} faults, {len(escaped)} caught by fewer than {ENOUGH} suites, {skipped} skipped, {time.monotonic() - start:.0f} s")
    if args.results and not args.faults:
        write_page(rows, "./dev faults --results" + (" --full" if args.full else ""), args.full)
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
