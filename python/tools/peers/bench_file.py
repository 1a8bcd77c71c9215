"""The JSON of `ragdot bench` (docs/cli.md), and the peers' rows and ratios in it."""

from statistics import median

from peers.case import Case
from peers.contenders import Contender
from peers.problems import Shape
from results.rows import quotient

PARTS = 5  # of the rounds; how far their medians lie apart is the spread of a row
RUN = "peers"  # as a row's `run`: which rows were timed together; the command's own rows have none


def best_peak(machine: dict) -> tuple[str, float | None]:
    """Name and rate in TFLOP/s of the fastest floating-point instruction that the command measured: every contender here could use it."""
    rates = {name: rate for name, rate in machine.get("peak_tflops", {}).items() if rate and "int8" not in name and "vnni" not in name}
    name = max(rates, key=rates.__getitem__, default="")
    return name, rates.get(name)


def medians_of_parts(seconds: list[float]) -> list[float]:
    """The median of each consecutive part of the rounds, all parts about as long; of fewer rounds than parts, the rounds."""
    count = min(PARTS, len(seconds))
    ends = [len(seconds) * i // count for i in range(count + 1)]
    return [median(seconds[begin:end]) for begin, end in zip(ends, ends[1:])]


def row(case: Case, shape: Shape, contender: Contender, about: dict, seconds: list[float], threads: int, machine: dict) -> dict:
    """A row of the schema. `about` is what the worker said at its start; rates are of the median."""
    middle, parts = median(seconds), medians_of_parts(seconds)
    tflops, gbs = case.operations() / middle * 1e-12, case.bytes_moved() / middle * 1e-9
    (peak_name, peak), read = best_peak(machine), machine.get("read_gbs")
    return {
        "problem": str(case.problem), "op": case.op, "shape": shape.name, "recipe": contender.recipe, "contender": contender.name,
        "kernel": about["kernel"], "version": about["version"], "threads": threads, "weight_copies": shape.copies,
        "median_s": middle, "min_s": min(seconds), "max_s": max(seconds), "runs": len(seconds), "starts_s": parts, "low_s": min(parts),
        "high_s": max(parts), "comparison": f"{case.op} {shape.name}", "tflops": tflops, "gbs": gbs,
        "of_peak": tflops / peak if peak else None, "of_read_bandwidth": gbs / read if read else None, "peak": peak_name,
        "operations": case.operations(), "bytes": case.bytes_moved(), "run": RUN,
    }  # fmt: skip


def refusal(case: Case, shape: Shape, contender: Contender, outcome: str, sentence: str) -> dict:
    """What stands in `refused` for a contender that was not timed; outcome is "wrong" or "impossible"."""
    return {"problem": str(case.problem), "op": case.op, "shape": shape.name, "recipe": contender.recipe, "contender": contender.name,
            "outcome": outcome, "refusal": sentence, "run": RUN}  # fmt: skip


def ratios(rows: list[dict]) -> dict[str, tuple[float, float, float]]:
    """Time of each peer over that of each of the library's recipes, with its spread: "gmm.w0.torch_grouped_mm/blockwise"."""
    found = {}
    for peer in rows:
        if peer["contender"] == "ragdot":
            continue
        for own in rows:
            if own["contender"] == "ragdot" and (own["op"], own["shape"]) == (peer["op"], peer["shape"]):
                found[f"{peer['op']}.{peer['shape']}.{peer['contender']}/{own['recipe']}"] = quotient(peer, own)
    return found


def merge(bench: dict, rows: list[dict], refused: list[dict]) -> dict:
    """The file with these rows and refusals of the peers instead of those of an earlier run."""
    gone = ratios([r for r in bench["rows"] if r.get("run") == RUN])
    found = ratios(rows)
    kept = {name: {key: value for key, value in bench.get(name, {}).items() if key not in gone} for name in ("ratios", "ratio_spreads")}
    others = {key: [r for r in bench.get(key, []) if r.get("run") != RUN] for key in ("rows", "refused")}
    return bench | {"rows": others["rows"] + rows, "refused": others["refused"] + refused,
                    "ratios": kept["ratios"] | {key: value for key, (value, _, _) in found.items()},
                    "ratio_spreads": kept["ratio_spreads"] | {key: [low, high] for key, (_, low, high) in found.items()}}  # fmt: skip
