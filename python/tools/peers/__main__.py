"""python -m peers --ragdot COMMAND BENCH.json: times the peers on the problems of a bench file and adds their rows to it.

RAGDOT_LIBRARY names the library. Exit codes: 0 ok, 1 a contender's product was wrong, 2 usage, 3 a peer cannot run here."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from peers import bench_file
from peers.comparison import Comparison, Outcome, Settings
from peers.contenders import CONTENDERS, Contender
from peers.problems import shapes_of
from peers.rounds import ROUNDS


def words() -> argparse.Namespace:
    """What the user asked for."""
    parser = argparse.ArgumentParser(prog="peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", type=Path, help="what `ragdot bench --json` wrote; rows are added in place")
    parser.add_argument("--ragdot", required=True, help="the ragdot command, which writes the cases")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="timed rounds (%(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every contender (%(default)s)")
    parser.add_argument("--only", action="append", metavar="NAME", help="these contenders besides ragdot; may be repeated")
    parser.add_argument("--shape", action="append", metavar="NAME", help="these shapes alone, such as w0; may be repeated")
    return parser.parse_args()


def chosen(only: list[str] | None) -> tuple[Contender, ...]:
    """The contenders by name; exits with the list for an unknown one."""
    names = {c.name for c in CONTENDERS}
    unknown = [name for name in only or [] if name not in names]
    if unknown:
        print(f"peers: contender {unknown[0]} is unknown; there are {', '.join(sorted(names))}", file=sys.stderr)
        sys.exit(2)
    return tuple(c for c in CONTENDERS if not only or c.is_library or c.name in only)


def report(rows: list[dict]) -> None:
    """One line for each row."""
    for r in rows:
        print(f"{r['op']:<5} {r['shape']:<12} {r['contender']:<17} {r['recipe']:<18} {r['median_s'] * 1e3:>9.3f} ms "
              f"{r['tflops']:>7.3f} TFLOP/s {r['gbs']:>7.1f} GB/s  ({r['runs']} runs)", flush=True)  # fmt: skip


def run(given: argparse.Namespace) -> Outcome:
    """Every shape of the file; the file is rewritten after each, so that an interrupted run keeps what it has."""
    bench = json.loads(given.bench.read_text())
    contenders, outcome = chosen(given.only), Outcome()

    def write_case(problem: str, path: Path) -> None:
        subprocess.run([given.ragdot, "case", *problem.split(), "-o", str(path), "--overwrite"], check=True)

    def progress(line: str) -> None:
        print(f"peers: {line}", file=sys.stderr, flush=True)

    for shape in shapes_of(bench["rows"]):
        if given.shape and shape.name not in given.shape:
            continue
        with tempfile.TemporaryDirectory(prefix="ragdot_peers_") as folder:
            settings = Settings(write_case, Path(folder), given.threads, given.rounds, bench.get("machine", {}), progress)
            found = Comparison(shape, settings).run(contenders)
        report(found.rows)
        outcome.add(found)
        merged = bench_file.merge(bench, outcome.rows, outcome.refused)
        given.bench.write_text(json.dumps(merged, indent=1) + "\n")
    return outcome


def main() -> int:
    given = words()
    try:
        outcome = run(given)
    except (OSError, json.JSONDecodeError, KeyError, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"peers: {given.bench}: {error}", file=sys.stderr)
        return 1 if isinstance(error, RuntimeError) else 2
    for r in outcome.refused:
        print(f"peers: {r['op']} {r['shape']}: {r['contender']} was not timed: {r['refusal']}", file=sys.stderr)
    if not outcome.rows:
        print(f"peers: {given.bench} has no grouped products; nothing to compare", file=sys.stderr)
    return 1 if outcome.any("wrong") else 3 if outcome.any("impossible") else 0


if __name__ == "__main__":
    sys.exit(main())
