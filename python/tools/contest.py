"""Calls that do the same in turn within one process, and their times beside a peer's."""

import random
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Contender:
    """A call, and what raises where its result is wrong: the product, or the gradients of x and w."""

    name: str
    call: Callable[[], Any]
    check: Callable[[Any], None]


@dataclass(frozen=True)
class Row:
    """Seconds of a call: median, least and greatest of the rounds; `ratio` is the median of the peer's over this one in each."""

    name: str
    median: float
    least: float
    greatest: float
    ratio: float


def measure(found: Iterable[Contender], peer: str, rounds: int, calls: int) -> list[Row]:
    """Every contender in every round, after a round that is not counted: the mean of so many calls. Each round has another order, by
    chance but the same in every run (docs/decisions/0113)."""
    found, times, order = list(found), {}, random.Random(0)
    for round in range(rounds + 1):
        for contender in order.sample(found, len(found)):
            start = time.perf_counter()
            for _ in range(calls):
                contender.call()
            if round:
                times.setdefault(contender.name, []).append((time.perf_counter() - start) / calls)

    def over_this(of: list[float]) -> float:
        return statistics.median(other / own for other, own in zip(times[peer], of))

    return [Row(c.name, statistics.median(of := times[c.name]), min(of), max(of), over_this(of)) for c in found]


def table(rows: Iterable[Row], flops: int) -> str:
    """For a terminal."""
    lines = [f"{'':<32} {'ms':>7} {'least':>7} {'greatest':>8} {'TFLOP/s':>8}  peer / this"]
    for r in rows:
        lines.append(f"{r.name:<32} {r.median * 1e3:>7.2f} {r.least * 1e3:>7.2f} {r.greatest * 1e3:>8.2f} "
                     f"{flops / r.median / 1e12:>8.2f}  {r.ratio:.2f}")  # fmt: skip
    return "\n".join(lines)
