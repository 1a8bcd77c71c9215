"""Workers in processes of their own, and rounds in which each has one turn, so that all meet the same neighbours and clock rates."""

import json
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

ROUNDS = 15
SLOW = 5.0  # a contender that takes this many times as long as the fastest has a turn in every SLOW_EVERY-th round only
SLOW_EVERY = 5
# libgomp's idle threads spin for up to 20 ms unless told otherwise: they would slow the next contender down, and a thread that
# waits for one which lost its CPU to a neighbour burns that CPU (docs/decisions/0020).
SPINS = "10000"
SETTLE_SECONDS = 0.01  # after a turn, until the idle threads of every pool sleep
ANSWER_SECONDS = 600.0


class WorkerFailed(Exception):
    """The worker ended or was silent; the text is a sentence."""


class Timed(Protocol):
    """What a round needs of a worker."""

    def run(self) -> float:
        """One call; wall-clock seconds."""
        ...


def how_it_ended(code: int) -> str:
    """A process's return code in words; libraries built for other CPUs end by SIGILL."""
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


class Worker:
    """The parent's end of peers.worker. Use as a context: the process ends with it."""

    def __init__(self, entry: str, case: Path, threads: int, copies: int = 1):
        self.entry, self.started = entry, False
        self.errors = tempfile.TemporaryFile()  # lives as long as the process
        environment = {"GOMP_SPINCOUNT": SPINS} | os.environ | {"OMP_NUM_THREADS": str(threads)}
        words = [sys.executable, "-m", "peers.worker", entry, str(case), str(threads), str(copies)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=environment)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for file in (self.process.stdin, self.process.stdout, self.errors):
            file.close()

    def answer(self) -> dict:
        """The next line; raises WorkerFailed with the last words of the process where there is none."""
        ready, _, _ = select.select([self.process.stdout], [], [], ANSWER_SECONDS)
        line = self.process.stdout.readline() if ready else b""
        if line:
            return json.loads(line)
        self.errors.seek(0)
        words = self.errors.read().decode(errors="replace").strip().splitlines()
        why = how_it_ended(self.process.wait()) if ready else f"gave no answer in {ANSWER_SECONDS:.0f} s"
        raise WorkerFailed(f"its process {why}: {words[-1] if words else 'it said nothing'}")

    def ask(self, line: str) -> dict:
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # answer() says why
        return self.answer()

    def start(self) -> dict:
        """Waits until it is prepared: {"kernel", "version"}, or {"impossible"}."""
        return self.answer()

    def run(self) -> float:
        return float(self.ask("run")["seconds"])

    def save(self, path: Path) -> None:
        """Its last result, as numpy f32."""
        self.ask(f"out {path}")


def interleave(workers: Sequence[Timed], rounds: int, settle: Callable[[float], None] = time.sleep) -> list[list[float]]:
    """Seconds of each counted call, for each worker. An uncounted round comes first and tells the slow ones; each round has another
    order, by chance but the same in every run (docs/decisions/0113)."""

    def turn(worker: Timed) -> float:
        seconds = worker.run()
        settle(SETTLE_SECONDS)
        return seconds

    first = [turn(worker) for worker in workers]
    slow = [seconds > SLOW * min(first) for seconds in first]
    counted: list[list[float]] = [[] for _ in workers]
    order = random.Random(0)
    for number in range(rounds):
        for whose in order.sample(range(len(workers)), len(workers)):
            if not slow[whose] or number % SLOW_EVERY == 0:
                counted[whose].append(turn(workers[whose]))
    return counted
