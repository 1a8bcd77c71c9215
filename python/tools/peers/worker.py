"""python -m peers.worker ENTRY CASE THREADS COPIES: one contender in a process of its own, asked line by line.

Answers are JSON lines. First {"kernel", "version"}. Then "run" -> {"seconds"}, one call, wall-clock seconds; "out PATH" ->
{"path"}, the last result as f32 in numpy's format. A contender that cannot run answers {"impossible": sentence} and ends."""

import importlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

SHORT = 0.05  # seconds; shorter calls are preceded by one that is not counted, for caches, clock rate and sleeping threads


def serve(entry: str, path: str, threads: int, copies: int, answer) -> None:
    """Prepares the contender, then answers until the input ends."""
    from peers.affinity import spread_out
    from peers.case import Case

    try:
        module, function = entry.split(":")
        ready = getattr(importlib.import_module(module), function)(Case.load(Path(path)), threads, copies)
        ready.call()
        spread_out(ready.call)
    except Exception as error:  # whatever a foreign library raises is a reason, not a fault of the comparison
        answer({"impossible": f"{type(error).__name__}: {error}".splitlines()[0]})
        return
    answer({"kernel": ready.kernel, "version": ready.version})
    last = np.inf
    for line in sys.stdin:
        word, _, argument = line.strip().partition(" ")
        if word == "out":
            np.save(argument, ready.result())
            answer({"path": argument})
        elif word == "run":
            if last < SHORT:
                ready.call()
            start = time.perf_counter()
            ready.call()
            last = time.perf_counter() - start
            answer({"seconds": last})


def main() -> None:
    """Keeps the pipe for answers: what libraries print goes to stderr."""
    entry, path, threads, copies = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # before any library counts CPUs
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(words: dict) -> None:
        pipe.write(json.dumps(words) + "\n")
        pipe.flush()

    serve(entry, path, threads, copies, answer)


if __name__ == "__main__":
    main()
