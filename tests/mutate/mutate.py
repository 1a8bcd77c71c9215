#!/usr/bin/env python3
"""Changes the sources of some rooms in one place at a time and runs the tests of those rooms on each change. The score is the part of
the changes that a test notices, of those that compile to other code. Exit 1 when it is below the mark."""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import sys
import time

from mutants import Mutant, mutants_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/release"
WORK = ROOT / "build/mutate"
PAGE = ROOT / "docs/results/trust/mutation.md"
EXPLAINED = pathlib.Path(__file__).with_name("explained.tsv")
MARK = 0.9

# What runs on a change to a room, until it is noticed: a program and its tests. A header is compiled into the first program's tests
# alone, so it has to be one that they are about.
PROGRAMS = {
    "src/api/c_abi_cuda.cpp": [("cuda/test_cuda", "*")],
    "src/format": [("test_format", "*")],
    "src/schedule": [("test_schedule", "*")],
    "src/plan": [("test_suites", "Plans.*"), ("test_api", "*")],
    "src/api": [("test_api", "*"), ("test_cpu", "Quantize*:Dequantize*:ToE8m0*:Requantize*"), ("test_suites", "Plans.*")],
}
HEADERS_OF = ("src/format", "src/schedule")
LEFT_OUT = ("_test.cpp", "_sweep.cpp", "fault.hpp", "bad_calls.hpp")  # tests, and what only tests use

Result = collections.namedtuple("Result", "file mutant state by")  # state: not compiled, equivalent, killed, survived


def sources() -> list[str]:
    found = [p.relative_to(ROOT).as_posix() for room in PROGRAMS if (ROOT / room).is_dir() for p in sorted((ROOT / room).iterdir())]
    return [f for f in found if not f.endswith(LEFT_OUT) and (f.endswith(".cpp") or (f.endswith(".hpp") and f.startswith(HEADERS_OF)))]


def room_of(file: str) -> str:
    return next(room for room in PROGRAMS if f"{file}/".startswith(room + "/"))  # a file's own before its folder's


def ninja(*args: str) -> str:
    return subprocess.run(["ninja", "-C", BUILD, *args], check=True, capture_output=True, text=True).stdout


class Unit:
    """An object of a test program that a change gets into: how it is compiled, and what it is without a change."""

    def __init__(self, output: str):
        self.output = output
        command = ninja("-t", "commands", "-s", output).strip().splitlines()[-1]
        command = re.sub(r"^\S*ccache ", "", command)
        command = re.sub(r" -MD -MT \S+ -MF \S+", "", command)
        self.source = re.search(r" -c (\S+)$", command)[1]
        command = command[: command.rindex(" -o ")]
        self.command = shlex.split(re.sub(r" -O[0-3]| -Werror| -g\S*", "", command)) + ["-O1", "-w"]
        self.original = b""

    def compile(self, source: str, overlay: pathlib.Path, target: pathlib.Path) -> bytes | None:
        """The object; None when it does not compile. Headers below `overlay` come before the project's."""
        command = [self.command[0], f"-I{overlay / 'src'}", *self.command[1:], "-o", target, "-c", source]
        done = subprocess.run(command, cwd=BUILD, capture_output=True)
        return target.read_bytes() if done.returncode == 0 else None


class Program:
    def __init__(self, name: str, tests: str):
        self.name, self.tests = pathlib.Path(name).name, tests
        self.beside = sorted((BUILD / "tests" / name).parent.glob("*.so"))  # libraries that it opens
        link = ninja("-t", "commands", "-s", f"tests/{name}").strip().splitlines()[-1]
        self.objects = re.findall(r"\S+\.o\b", link)
        self.linker = link[: link.index(self.objects[0])].removeprefix(": && ")
        behind = link[link.rindex(self.objects[-1]) + len(self.objects[-1]) :]
        self.libraries = behind[behind.index(f"tests/{name}") + len(f"tests/{name}") :].removesuffix(" && :")
        self.limit_s = 60.0

    def run(self, replaced: dict[str, pathlib.Path], folder: pathlib.Path) -> tuple[str, float]:
        """What stopped the tests ("" when all pass) and their seconds, with some objects replaced."""
        program = folder / self.name
        # The replaced ones first: of equal inline functions the linker keeps the first.
        objects = [str(path) for path in replaced.values()] + [o for o in self.objects if o not in replaced]
        link = f"{self.linker} -fuse-ld=gold {' '.join(objects)} -o {program} {self.libraries}"
        linked = subprocess.run(link, shell=True, cwd=BUILD, capture_output=True, text=True)
        if linked.returncode != 0:
            raise SystemExit(f"mutate: {self.name} does not link; run ./dev build. {linked.stderr[-500:]}")
        for library in self.beside:
            (folder / library.name).unlink(missing_ok=True)
            (folder / library.name).symlink_to(library)
        start = time.monotonic()
        try:
            command = [program, "--gtest_brief=1", "--gtest_fail_fast", f"--gtest_filter={self.tests}"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=self.limit_s)
        except subprocess.TimeoutExpired:
            return f"{self.name}: time", time.monotonic() - start
        failed = re.search(r"\[  FAILED  \] (\S+?),? ", done.stdout)
        why = failed[1] if failed else f"exit {done.returncode}"
        return ("" if done.returncode == 0 else f"{self.name}: {why}"), time.monotonic() - start


def units_of(file: str, program: Program) -> list[Unit]:
    """The objects of the program that a change to the file gets into."""
    if file.endswith(".cpp"):
        return [Unit(o) for o in program.objects if o.endswith(f"/{file}.o")]
    tests = [o for o in program.objects if o.endswith("_test.cpp.o")]
    return [Unit(o) for o in tests if f"/{file}\n" in ninja("-t", "deps", o)]


class Room:
    """All that the mutants of one file share."""

    def __init__(self, file: str, programs: dict[str, list[Program]]):
        self.file, self.text = file, (ROOT / file).read_text()
        self.programs = programs[room_of(file)]
        self.units = units_of(file, self.programs[0])
        if not self.units:
            raise SystemExit(f"mutate: {self.programs[0].name} has no object of {file}; name another program in PROGRAMS")
        for number, unit in enumerate(self.units):
            folder = WORK / f"original_{file.replace('/', '_')}"
            folder.mkdir(parents=True, exist_ok=True)
            unit.original = unit.compile(self.place(self.text, folder, unit), folder, folder / f"{number}.o")
            if unit.original is None:
                raise SystemExit(f"mutate: {file} does not compile as it is; run ./dev build")

    def place(self, text: str, folder: pathlib.Path, unit: Unit) -> str:
        """Writes the changed file below `folder`; returns the source to compile."""
        at = folder / self.file
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(text)
        return str(at) if self.file.endswith(".cpp") else unit.source

    def judge(self, mutant: Mutant, number: int) -> Result:
        folder = WORK / str(number)
        try:
            replaced, changed = {}, False
            for n, unit in enumerate(self.units):
                target = folder / f"{n}.o"
                source = self.place(mutant.apply(self.text), folder, unit)
                compiled = unit.compile(source, folder, target)
                if compiled is None:
                    return Result(self.file, mutant, "not compiled", "")
                changed = changed or compiled != unit.original
                replaced[unit.output] = target
            if not changed:
                return Result(self.file, mutant, "equivalent", "")
            for program in self.programs:
                in_program = {o: t for o, t in replaced.items() if o in program.objects}
                why, _ = program.run(in_program, folder)
                if why:
                    return Result(self.file, mutant, "killed", why)
            return Result(self.file, mutant, "survived", "")
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def changed_line(result: Result) -> tuple[int, str, str]:
    """Number of the line, and its text before and after."""
    text = (ROOT / result.file).read_text()
    number = result.mutant.line(text)
    after = result.mutant.apply(text).splitlines()
    return number, text.splitlines()[number - 1].strip(), after[number - 1].strip() if number <= len(after) else ""


def explanations() -> dict[tuple[str, str], str]:
    lines = EXPLAINED.read_text().splitlines() if EXPLAINED.exists() else []
    return {(file, after): why for file, after, why in (line.split("\t") for line in lines if line and not line.startswith("#"))}


def report(results: list[Result], command: str) -> tuple[float, list[str]]:
    """The score and the page."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    states = ("killed", "survived", "equivalent", "not compiled")
    total = collections.Counter(r.state for r in results)
    score = total["killed"] / max(1, total["killed"] + total["survived"])
    lines = [
        "# mutation: small changes to the sources, and whether a test notices",
        "",
        f"`{command}` at {commit}: {total['killed']} of {total['killed'] + total['survived']} changes were noticed, **{score:.1%}**; "
        f"{total['equivalent']} more compile to the same code and {total['not compiled']} do not compile.",
        "",
        "| file | noticed | survived | same code | not compiled |",
        "|---|---|---|---|---|",
    ]
    for file in sorted({r.file for r in results}):
        count = collections.Counter(r.state for r in results if r.file == file)
        lines.append(f"| {file} | " + " | ".join(str(count[s]) for s in states) + " |")
    lines += ["", "Survivors:", "", "| place | was | became | why it survives |", "|---|---|---|---|"]
    known = explanations()
    for r in (r for r in results if r.state == "survived"):
        number, before, after = changed_line(r)
        cells = [c.replace("|", "\\|") for c in (before, after)]
        lines.append(f"| {r.file}:{number} | `{cells[0]}` | `{cells[1]}` | {known.get((r.file, after), 'not explained')} |")
    return score, lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev mutate", description=__doc__)
    parser.add_argument("files", nargs="*", help="sources below " + ", ".join(PROGRAMS) + " (default: all)")
    parser.add_argument("--sample", type=int, default=200, help="so many of all changes, 0 for all (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument("--results", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    if unknown := [f for f in args.files if f not in sources()]:
        parser.error(f"{', '.join(unknown)}: not among the sources that have tests for this; they are {' '.join(sources())}")
    every = [(f, m) for f in args.files or sources() for m in mutants_of((ROOT / f).read_text())]
    chosen = sorted(random.Random(args.seed).sample(range(len(every)), min(args.sample or len(every), len(every))))
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    programs = {room: [Program(*p) for p in listed] for room, listed in PROGRAMS.items() if any(every[i][0].startswith(room) for i in chosen)}
    for program in (p for listed in programs.values() for p in listed):
        why, seconds = program.run({}, WORK)
        if why:
            raise SystemExit(f"mutate: {why} without any change")
        program.limit_s = 30 + 20 * seconds
    rooms = {file: Room(file, programs) for file in sorted({every[i][0] for i in chosen})}
    print(f"{len(chosen)} of {len(every)} changes in {len(rooms)} files", flush=True)

    def judge(i: int) -> Result:
        result = rooms[every[i][0]].judge(every[i][1], i)
        number, before, after = changed_line(result)
        if result.state == "survived":
            print(f"SURVIVED {result.file}:{number}: {before}  ->  {after}", flush=True)
        return result

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(judge, chosen))
    command = " ".join(["./dev mutate", *args.files, f"--sample {args.sample} --seed {args.seed}"])
    score, lines = report(results, command)
    print("\n".join(lines[2:]))
    if args.results:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text("\n".join(lines) + "\n")
        print(f"written: {PAGE.relative_to(ROOT)}")
    return 0 if score >= MARK else 1


if __name__ == "__main__":
    sys.exit(main())
