"""python -m random_page --command TEXT --commit NAME RANDOM.json: the results page of a `ragdot verify --random` run, on stdout."""

import argparse
import json
import sys
from pathlib import Path

HEAD = """# Random calls against the reduction order

`{command}`, commit {commit}, on {cpu} ({threads} threads).

{cases:,} random calls of seed {seed}, indices {first:,} to {last:,}, in {minutes:.0f} minutes: {verdict}. Each ran on every kernel
below; **differing bits** counts outputs that are not those of the reduction order, followed by bias, activation, accumulation and
rounding (behind an activation other than relu: outputs further off than the activation's own error, or unlike the first kernel's).
**worst/E** is the largest error over its bound, of f32 products without epilogue. What a call may be: `../../testing.md`.

| kernel | op | calls | outputs | differing bits | worst/E | skipped |
|---|---|---:|---:|---:|---:|---|
"""


def kernel_rows(rows: list[dict]) -> list[str]:
    lines = []
    for row in rows:
        if "unusable" in row:
            lines.append(f"| {row['kernel']} | | 0 | | | | all: {row['unusable']} |")
            continue
        skipped = "; ".join(f"{count:,}: {reason}" for reason, count in row["skipped"].items()) or "0"
        lines.append(
            f"| {row['kernel']} | {row['op']} | {row['cases']:,} | {row['outputs']:,} | {row['differing_bits']:,} "
            f"| {row['worst_over_bound']:.3f} | {skipped} |"
        )
    return lines


def coverage_rows(coverage: dict[str, dict[str, int]]) -> list[str]:
    lines = []
    for name, values in coverage.items():
        counts = ", ".join(f"{value} {count:,}" for value, count in sorted(values.items(), key=lambda item: -item[1]))
        lines.append(f"| {name} | {counts} |")
    return lines


def failure_lines(failures: list[dict]) -> list[str]:
    lines = []
    for failure in failures:
        lines.append(f"- case {failure['index']} on {failure['kernel'] or 'no kernel'}: {failure['failure']}. Replay: `{failure['replay']}`")
    return lines


def page(result: dict, command: str, commit: str) -> str:
    run = result["random"]
    text = HEAD.format(
        command=command,
        commit=commit,
        cpu=result["machine"]["cpu"],
        threads=result["machine"]["threads"],
        cases=run["cases"],
        seed=run["seed"],
        first=run["first"],
        last=run["first"] + run["cases"] - 1,
        minutes=run["seconds"] / 60,
        verdict="all right" if result["ok"] else "**not all right**",
    )
    parts = [*kernel_rows(result["rows"])]
    if result["failures"]:
        parts += ["", "## Failures", "", *failure_lines(result["failures"])]
    parts += ["", "## How many calls had what", "", "| property | calls |", "|---|---|", *coverage_rows(result["coverage"])]
    return text + "\n".join(parts) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="random_page", description=__doc__)
    parser.add_argument("file", type=Path, metavar="RANDOM.json")
    parser.add_argument("--command", required=True, help="what a reader runs to make the page anew")
    parser.add_argument("--commit", required=True)
    given = parser.parse_args()
    print(page(json.loads(given.file.read_text()), given.command, given.commit), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
