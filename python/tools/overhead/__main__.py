"""python -m overhead: a decode-size gmm (8 rows, 8 experts, K = N = 256) through every door, and what each takes above C."""

import argparse
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from overhead.doors import DOORS, Door, operands
from overhead.jax_doors import jax_doors
from overhead.torch_doors import after_matmul, torch_doors

ROUNDS, TURN = 7, 50


@dataclass(frozen=True)
class Row:
    """Microseconds of a call: median, least and greatest of the rounds; above: the median of the differences to `of`."""

    name: str
    median: float
    least: float
    greatest: float
    of: str
    above: float | None


def measure(doors: Iterable[Door], calls: int) -> list[Row]:
    """Every door in every round, after a round that is not counted. In a round the doors take turns of a few calls, so that a machine
    whose speed changes changes it for all; differences are taken within rounds."""
    doors, turn = list(doors), min(calls, TURN)
    rounds = [_round(doors, calls // turn, turn) for _ in range(ROUNDS + 1)][1:]
    rows = []
    for door in doors:
        times = [found[door.name] for found in rounds]
        above = statistics.median(found[door.name] - found[door.above] for found in rounds) if door.above else None
        rows.append(Row(door.name, statistics.median(times), min(times), max(times), door.above, above))
    return rows


def _round(doors: list[Door], turns: int, calls: int) -> dict[str, float]:
    """Microseconds of a call through each door."""
    seconds = dict.fromkeys((door.name for door in doors), 0.0)
    for _ in range(turns):
        for door in doors:
            seconds[door.name] += door.seconds(calls)
    return {name: total / (turns * calls) * 1e6 for name, total in seconds.items()}


def table(rows: Iterable[Row]) -> str:
    """For a terminal."""
    lines = [f"{'door':<20} {'us a call':>10} {'least':>8} {'greatest':>9}  above"]
    for r in rows:
        above = "" if r.above is None else f"  {r.above:.1f} above {r.of}"
        lines.append(f"{r.name:<20} {r.median:>10.1f} {r.least:>8.1f} {r.greatest:>9.1f}{above}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="overhead", description=__doc__)
    parser.add_argument("--calls", type=int, default=2000, help=f"of each door in each round, in turns of {TURN} (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of every call (%(default)s)")
    given = parser.parse_args()
    times = after_matmul(given.calls // 10)  # first: the doors set the number of torch's threads
    for recipe in ("bf16", "blockwise"):
        doors = [door for found in (*DOORS, torch_doors, jax_doors) for door in found(operands(recipe, given.threads))]
        print(f"{recipe}, {given.threads} thread{'s' * (given.threads > 1)}, medians of {ROUNDS} rounds of {given.calls} calls")
        print(table(measure(doors, given.calls)), flush=True)
    if times is not None:
        print(f"torch: a product right after a matmul takes {times:.2f} times one after its like")


if __name__ == "__main__":
    main()
