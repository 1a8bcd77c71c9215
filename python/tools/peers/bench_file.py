"""The JSON of `ragdot bench` (docs/cli.md), and the peers' rows and ratios in it."""

from statistics import median

from peers.case import Case
from peers.contenders import Contender
from peers.problems import Shape

RUN = "peers"  # as a row's `run`: which rows were timed together; the command's own rows have none


def best_peak(machine: dict) -> tuple[str, float | None]:
    """Name and rate in TFLOP/s of the fastest floating-point instruction that the command measured: every contender here could use it."""
    rates = {name: rate for name, rate in machine.get("peak_tflops", {}).items() if rate and "int8" not in name and "vnni" not in name}
    name = max(rates, key=rates.__getitem__, default="")
    return name, rates.get(name)


def row(case: Case, shape: Shape, contender: Contender, about: dict, seconds: list[float], threads: int, machine: dict) -> dict:
    """A row of the schema. `about` is what the worker said at its start; rates are of the median."""
    middle = median(seconds)
    tflops, gbs = case.operations() / middle * 1e-12, case.bytes_moved() / middle * 1e-9
    (peak_name, peak), read = best_peak(machine), machine.get("read_gbs")
    return {
        "problem": str(case.problem), "op": case.op, "shape": shape.name, "recipe": contender.recipe, "contender": contender.name,
        "kernel": about["kernel"], "version": about["version"], "threads": threads, "weight_copies": shape.copies,
        "median_s": middle, "min_s": min(seconds), "max_s": max(seconds), "runs": len(seconds), "tflops": tflops, "gbs": gbs,
        "of_peak": tflops / peak if peak else None, "of_read_bandwidth": gbs / read if read else None, "peak": peak_name,
        "operations": case.operations(), "bytes": case.bytes_moved(), "run": RUN,
    }  # fmt: skip


def refusal(case: Case, shape: Shape, contender: Contender, outcome: str, sentence: str) -> dict:
    """What stands in `refused` for a contender that was not timed; outcome is "wrong" or "impossible"."""
    return {"problem": str(case.problem), "op": case.op, "shape": shape.name, "recipe": contender.recipe, "contender": contender.name,
            "outcome": outcome, "refusal": sentence, "run": RUN}  # fmt: skip


def ratios(rows: list[dict]) -> dict[str, float]:
    """Time of each peer over that of each of the library's recipes: "gmm.w0.torch_grouped_mm/blockwise"."""
    found = {}
    for peer in rows:
        if peer["contender"] == "ragdot":
            continue
        for own in rows:
            if own["contender"] == "ragdot" and (own["op"], own["shape"]) == (peer["op"], peer["shape"]):
                found[f"{peer['op']}.{peer['shape']}.{peer['contender']}/{own['recipe']}"] = peer["median_s"] / own["median_s"]
    return found


def merge(bench: dict, rows: list[dict], refused: list[dict]) -> dict:
    """The file with these rows and refusals of the peers instead of those of an earlier run."""
    earlier = [r for r in bench["rows"] if r.get("run") == RUN]
    gone = ratios(earlier)
    kept = {key: value for key, value in bench.get("ratios", {}).items() if key not in gone}
    others = {key: [r for r in bench.get(key, []) if r.get("run") != RUN] for key in ("rows", "refused")}
    return bench | {"rows": others["rows"] + rows, "ratios": kept | ratios(rows), "refused": others["refused"] + refused}
