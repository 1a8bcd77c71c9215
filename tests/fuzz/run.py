#!/usr/bin/env python3
"""Runs the fuzz targets on their corpora and then on inputs of their own, two at a time; prints a table. Exit 1: an input failed."""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/fuzz"
PROGRAMS = ROOT / "build/asan/tests/fuzz"
BUILD = ROOT / "build/fuzz"  # what the runs leave
TARGETS = {
    "abi": "the C interface with arguments broken in up to three places: no crash, nothing reached beyond the views, refused calls leave every byte as it was",
    "product": "legal products of every shape, format, grid, storage order and kernel: the bits of the reduction order",
    "safetensors": "files in memory: a sentence, or tensors within the file and a call that is computed or refused",
    "problem": "problem strings: a sentence, or a problem that is printed and read back as the same",
}
STRUCTURED = ("abi", "product")  # every byte is a choice: long inputs from the start
MOST_BYTES = {"abi": 256, "product": 128, "safetensors": 1024, "problem": 256}
SECONDS_PER_INPUT = 20  # on a loaded machine; the slowest takes milliseconds
FAILED = ("crash-*", "timeout-*", "oom-*", "leak-*")


# The suites look for stack memory that outlives its function; here that costs a tenth of the runs.
ENVIRONMENT = os.environ | {"ASAN_OPTIONS": "detect_stack_use_after_return=0:malloc_context_size=4"}


def command(target: str, limit: list[str], seed: int) -> list[str]:
    """libFuzzer's command line: new inputs go to the first corpus, the one in the repository is read only."""
    work = BUILD / target
    words = [
        str(PROGRAMS / f"fuzz_{target}"),
        str(work / "corpus"),
        str(HERE / "corpus" / target),
        *limit,
        f"-seed={seed}",
        f"-max_len={MOST_BYTES[target]}",
        f"-timeout={SECONDS_PER_INPUT}",
        f"-artifact_prefix={work}/",
        f"-len_control={0 if target in STRUCTURED else 100}",
        f"-entropic={0 if target in STRUCTURED else 1}",
        "-print_funcs=0",
        "-print_final_stats=1",
    ]
    dictionary = HERE / f"{target}.dict"
    return words + ([f"-dict={dictionary}"] if dictionary.exists() else [])


def read_log(log: str) -> dict[str, int]:
    """The last counters that libFuzzer printed."""
    patterns = {
        "runs": r"stat::number_of_executed_units:\s*(\d+)",
        "rate": r"stat::average_exec_per_sec:\s*(\d+)",
        "coverage": r" cov: (\d+)",
        "corpus": r" corp: (\d+)",
    }
    return {name: int((re.findall(pattern, log) or ["0"])[-1]) for name, pattern in patterns.items()}


def failed_inputs(target: str) -> set[pathlib.Path]:
    return {path for pattern in FAILED for path in (BUILD / target).glob(pattern)}


def run(target: str, limit: list[str], seed: int) -> dict:
    """One target: its counters, the inputs that failed, and whether it ended as it should."""
    (BUILD / target / "corpus").mkdir(parents=True, exist_ok=True)
    before = failed_inputs(target)
    log = BUILD / target / "log"
    with log.open("w") as to:
        result = subprocess.run(command(target, limit, seed), stdout=subprocess.DEVNULL, stderr=to, cwd=ROOT, env=ENVIRONMENT)
    said = log.read_text(errors="replace")
    return {
        "target": target,
        "ok": result.returncode == 0,
        "failed": sorted(failed_inputs(target) - before),
        "log": said,
        **read_log(said),
    }


def table(rows: list[dict]) -> list[str]:
    lines = ["| target | runs | runs/s | coverage | corpus | crashes |", "|---|---:|---:|---:|---:|---:|"]
    lines += [
        f"| {r['target']} | {r['runs']:,} | {r['rate']:,} | {r['coverage']:,} | {r['corpus']:,} | {len(r['failed'])} |" for r in rows
    ]
    return lines


def page(rows: list[dict], words: argparse.Namespace) -> str:
    """docs/results/trust/fuzz.md"""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip()
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    kernels = sorted({line for r in rows for line in re.findall(r"^product: (kernel .*)$", r["log"], re.M)})
    lines = [
        "# fuzz: inputs tried without a failure",
        "",
        f"    ./dev fuzz {' '.join(sys.argv[1:])}",
        "",
        f"Commit {commit}, {os.cpu_count()} cores of {cpu.group(1) if cpu else 'an unnamed CPU'}, two targets at a time, {extent(words)} each;",
        "clang 19, AddressSanitizer and UndefinedBehaviorSanitizer, all failures fatal. Coverage: edges of the library and the target that",
        "were reached; corpus: inputs that reached something first.",
        "",
        *table(rows),
        "",
        *[f"- `{target}`: {what}." for target, what in TARGETS.items() if target in {r["target"] for r in rows}],
        *(["", "Kernels of `product`: " + "; ".join(line.removeprefix("kernel ") for line in kernels) + "."] if kernels else []),
    ]
    return "\n".join(lines) + "\n"


def extent(words: argparse.Namespace) -> str:
    return f"{words.runs:,} runs" if words.runs else f"{words.seconds} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", action="store_true", help="write docs/results/trust/fuzz.md")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs that are tried; 0, the default: others each time")
    parser.add_argument("--runs", type=int, default=0, help="of each target, instead of seconds")
    parser.add_argument("targets", nargs="*", metavar="SECONDS | TARGET", help=f"60 s each unless said; of {', '.join(TARGETS)}, all unless said")
    words = parser.parse_args()
    words.seconds = 60
    if words.targets and words.targets[0].isdigit():
        words.seconds = int(words.targets.pop(0))
    unknown = [t for t in words.targets if t not in TARGETS]
    if unknown:
        parser.error(f"target {unknown[0]} is unknown; take one of {', '.join(TARGETS)}")
    targets = words.targets or list(TARGETS)
    limit = [f"-runs={words.runs}"] if words.runs else [f"-max_total_time={words.seconds}"]
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        rows = list(pool.map(lambda target: run(target, limit, words.seed), targets))
    print("\n".join(table(rows)))
    bad = [r for r in rows if not r["ok"]]
    for r in bad:
        print(f"\n{r['target']} failed; the end of {(BUILD / r['target'] / 'log').relative_to(ROOT)}:")
        print("\n".join(r["log"].splitlines()[-40:]))
        program = (PROGRAMS / f"fuzz_{r['target']}").relative_to(ROOT)
        for path in r["failed"]:
            print(f"run it again: {program} {path.relative_to(ROOT)}")
    if words.results and not bad:
        out = ROOT / "docs/results/trust/fuzz.md"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page(rows, words))
        print(f"wrote {out.relative_to(ROOT)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
