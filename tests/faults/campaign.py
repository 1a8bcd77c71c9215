#!/usr/bin/env python3
"""Runs the suites on each planted fault until two of them have caught it: first those that did when the page of results was written,
then cheap ones. A suite that has caught a fault has to pass without one. Exit 1 when a fault is caught by fewer than two."""

import argparse
import collections
import collections.abc
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
PATIENCE_S = 300  # beyond twenty times what a suite takes without a fault, where that is known: then it hangs

Outcome = collections.namedtuple("Outcome", "failed how seconds")  # how: "", "crash" or "hang"


class Suites:
    """One process of the program with one fault, started anew when a suite brings it down."""

    def __init__(self, program: str, fault: str):
        self.command = [program, "--one-by-one", fault]
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


class WithoutFault:
    """What suites do without any fault: they have to pass, and cost so many seconds."""

    def __init__(self, program: str, jobs: int):
        self.program, self.jobs = program, jobs
        self.names = lines_of(program, "--suites")
        self.seconds: dict[str, float] = {}
        self.lock = threading.Lock()

    def run(self, names: collections.abc.Iterable[str]) -> dict[str, float]:
        """The seconds of all suites met so far, those of `names` among them; ends the campaign where one fails."""
        with self.lock:
            todo = collections.deque(sorted(set(names) - set(self.seconds)))

            def work() -> None:
                suites = Suites(self.program, "none")
                while todo:
                    suite = todo.popleft()
                    outcome = suites.run(suite, 1800)
                    if outcome.failed:
                        raise SystemExit(f"campaign: {suite} fails without any fault; {self.program} none shows how")
                    self.seconds[suite] = outcome.seconds
                suites.close()

            with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
                for done in [pool.submit(work) for _ in range(min(self.jobs, len(todo)))]:
                    done.result()
            return self.seconds

    def cheap_first(self) -> list[str]:
        seconds = self.run(self.names)
        return sorted(self.names, key=lambda s: (seconds[s], s))


def remembered() -> dict[str, list[str]]:
    """Suites that caught a fault when the page was written."""
    lines = PAGE.read_text().splitlines() if PAGE.exists() else []
    rows = [[cell.strip() for cell in line.split("|")] for line in lines if line.startswith("| `")]
    return {row[1].strip("`"): [name.split(" ")[0] for name in row[4].split(", ")] for row in rows}


def catchers(fault: str, clean: WithoutFault, first: list[str], full: bool) -> list[str]:
    """The suites that catch a fault, those of `first` before others and cheap ones before dear ones; at most as many as are enough."""
    suites, caught, met = Suites(clean.program, fault), [], set()
    for order in (lambda: [s for s in first if s in clean.names], clean.cheap_first):
        for suite in order():
            if suite in met or (len(caught) >= ENOUGH and not full):
                continue
            met.add(suite)
            outcome = suites.run(suite, PATIENCE_S + 20 * clean.seconds.get(suite, 0))
            if outcome.failed:
                caught.append(suite + (f" ({outcome.how})" if outcome.how else ""))
        if len(caught) >= ENOUGH and not full:
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
        + ("Each fault met every suite." if full else "A fault's run ends with the second suite that catches it: the next campaign begins with these two."),
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
    clean, first = WithoutFault(args.program, args.jobs), remembered()

    def run(entry: list[str]) -> tuple[str, str, str, list[str]]:
        name, what, why = entry
        caught = [] if why else catchers(name, clean, first.get(name, []), args.full)
        verdict = f"skipped: {why}" if why else ("caught" if len(caught) >= ENOUGH else "ESCAPED") + f" by {len(caught)}: {', '.join(caught)}"
        print(f"{name:<34} {verdict}", flush=True)
        return name, what, why, caught

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(run, [entry for entry in known if not args.faults or entry[0] in args.faults]))
    clean.run(suite.split(" ")[0] for _, _, _, caught in rows for suite in caught)
    escaped = [name for name, _, why, caught in rows if not why and len(caught) < ENOUGH]
    skipped = sum(bool(why) for _, _, why, _ in rows)
    print(f"{len(clean.seconds)} suites pass without a fault")
    print(f"{len(rows)} faults, {len(escaped)} caught by fewer than {ENOUGH} suites, {skipped} skipped, {time.monotonic() - start:.0f} s")
    if args.results and not args.faults and not escaped:
        write_page(rows, "./dev faults --results" + (" --full" if args.full else ""), args.full)
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
