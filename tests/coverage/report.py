#!/usr/bin/env python3
"""Which lines and branches of src/ the tests reach: a table by room, and every gap, as a page.

report.py PROGRAMS PROFILE PAGE COMMIT: PROGRAMS is a file with a test program a line; PROFILE the merged profile. Exit code 1 where
less is reached than is demanded."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LLVM_COV = "llvm-cov-19"
LEAST = {"lines": 95.0, "branches": 90.0}  # percent of src/


@dataclass
class Tally:
    lines: Counter = field(default_factory=Counter)
    branches: Counter = field(default_factory=Counter)

    def add(self, summary: dict) -> None:
        for kind in LEAST:
            getattr(self, kind).update({key: summary[kind][key] for key in ("count", "covered")})

    def percent(self, kind: str) -> float:
        count = getattr(self, kind)
        return 100.0 * count["covered"] / count["count"] if count["count"] else 100.0

    def row(self, name: str) -> str:
        cells = [f"{getattr(self, kind)['covered']} of {getattr(self, kind)['count']}, {self.percent(kind):.1f} %" for kind in LEAST]
        return f"| {name} | {' | '.join(cells)} |\n"


def exported(programs: list[str], profile: str) -> list[dict]:
    """What llvm-cov knows of each file of src/ that is not a test."""
    others = [word for program in programs[1:] for word in ("-object", program)]
    command = [LLVM_COV, "export", "-format=text", "-skip-expansions", f"-instr-profile={profile}", programs[0], *others, str(ROOT / "src")]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    files = json.loads(text)["data"][0]["files"]
    return [f for f in files if "_test." not in f["filename"] and "_sweep." not in f["filename"]]


def unreached_lines(file: dict) -> list[int]:
    """Lines that begin within a region which never ran."""
    lines = set()
    segments = file["segments"]  # line, column, count, has count, is the start of a region, is a gap
    for here, there in zip(segments, segments[1:]):
        if here[3] and here[2] == 0 and not here[5]:
            lines.update(range(here[0], max(here[0], there[0] - (there[1] <= 1)) + 1))
    return sorted(lines)


def one_sided_branches(file: dict) -> list[int]:
    """Lines of conditions that only ever went one way. An instance of a template counts with the others of its place."""
    taken: dict[tuple, list[int]] = defaultdict(lambda: [0, 0])
    for branch in file["branches"]:  # line, column, end line, end column, true count, false count, ...
        sides = taken[tuple(branch[:4])]
        sides[0] += branch[4]
        sides[1] += branch[5]
    return sorted({place[0] for place, sides in taken.items() if 0 in sides})


def ranges(numbers: list[int]) -> str:
    """12, 14-17."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)


def main() -> int:
    programs, profile, page, commit = sys.argv[1:]
    files = exported(Path(programs).read_text().split(), profile)
    rooms: dict[str, Tally] = defaultdict(Tally)
    everything, gaps = Tally(), []
    for file in sorted(files, key=lambda f: f["filename"]):
        path = Path(file["filename"]).relative_to(ROOT)
        rooms[path.parts[1]].add(file["summary"])
        everything.add(file["summary"])
        lines, branches = unreached_lines(file), one_sided_branches(file)
        if lines or branches:
            gaps.append(f"| `{path}` | {ranges(lines)} | {ranges(branches)} |\n")
    text = f"""# Coverage of src/

`./dev coverage` at commit {commit}: every test program but the examples, on the kernels of this CPU, built by clang with source-based
coverage. A branch is one way out of a condition; each instance of a template counts. Demanded: {LEAST["lines"]:.0f} % of the lines,
{LEAST["branches"]:.0f} % of the branches.

| room | lines reached | ways out of conditions taken |
|---|---|---|
{"".join(tally.row(f"`src/{room}`") for room, tally in rooms.items())}{everything.row("all")}
## Gaps

| file | lines never reached | conditions that went one way only |
|---|---|---|
{"".join(gaps)}"""
    Path(page).parent.mkdir(parents=True, exist_ok=True)
    Path(page).write_text(text)
    print(everything.row("src/"), end="")
    return 0 if all(everything.percent(kind) >= least for kind, least in LEAST.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
