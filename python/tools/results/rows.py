"""What the page and the pictures say of a row of a bench file."""

import re
from typing import NamedTuple


class Point(NamedTuple):
    """A dot of a picture: where, of which series, and its spread."""

    place: str
    series: str
    value: float
    low: float
    high: float


def spread(row: dict) -> tuple[float, float]:
    """Seconds: the least and the greatest median of a start."""
    return row["low_s"], row["high_s"]


def preset_name(bench: dict) -> str:
    """"seed": what the file holds; "problem" for a single one."""
    return bench.get("preset") or "problem"


def file_name(bench: dict) -> str:
    """"seed", or "seed_portable" where the kernel was chosen."""
    return "_".join([preset_name(bench), *bench.get("kernels", [])])


def folder_name(machine: dict) -> str:
    """"intel-xeon-amx-2-threads": CPU name, AMX where it has it (some names say little), threads."""
    words = re.sub(r"\(r\)|\(tm\)|@.*|\b(cpu|processor|with .*)\b", " ", machine["cpu"].lower())
    parts = re.findall(r"[a-z0-9]+", words)
    if any(name.startswith("amx") for name in machine.get("isa", [])):
        parts.append("amx")
    return "-".join([*parts, str(machine["threads"]), "threads"])


def series(row: dict) -> str:
    """"ragdot blockwise", "torch_loop": what one colour stands for."""
    return f"ragdot {row['recipe']}" if row["contender"] == "ragdot" else row["contender"]


def place(row: dict) -> str:
    return f"{row['op']} {row['shape']}"


def of_bound(row: dict) -> float | None:
    """The part of the median time that the nearest limit of the machine needs: arithmetic, reading, or copying."""
    return max((row[key] for key in ("of_peak", "of_read_bandwidth", "of_copy_bandwidth") if row.get(key)), default=None)


def usual(bench: dict) -> list[dict]:
    """Rows on all threads with the automatic tile: the ones that pictures show."""
    return [r for r in bench["rows"] if r["threads"] == bench["machine"]["threads"] and "tile=" not in r["problem"]]


def quotient(a: dict, b: dict) -> tuple[float, float, float]:
    """Time over time of two rows of one comparison, and the least and greatest of it start by start; where their starts do not belong
    together, from the spreads of both."""
    value = a["median_s"] / b["median_s"]
    if len(a["starts_s"]) != len(b["starts_s"]):
        return value, a["low_s"] / b["high_s"], a["high_s"] / b["low_s"]
    each = [x / y for x, y in zip(a["starts_s"], b["starts_s"])]
    return value, min(value, *each), max(value, *each)


def _taken_by_rounds(bench: dict, row: dict) -> tuple[float, float, float] | None:
    """The command's own ratio to bf16, where the row is of its run."""
    name = f"{row['op']}.{row['shape']}.{row['recipe'] if row['contender'] == 'ragdot' else row['contender']}/bf16"
    if "run" in row or name not in bench.get("ratios", {}):
        return None
    return bench["ratios"][name], *bench["ratio_spreads"][name]


def over_bf16(bench: dict) -> list[Point]:
    """Time over the library's bf16 time in the same run, of every row but bf16's; own recipes from the command's run where it has them,
    with the ratio that the command took round by round."""
    rows = usual(bench)
    base = {(place(r), r.get("run")): r for r in rows if series(r) == "ragdot bf16"}
    points: dict[tuple[str, str], Point] = {}
    for r in sorted(rows, key=lambda r: r.get("run") is not None):
        key = place(r), r.get("run")
        if key in base and series(r) != "ragdot bf16":
            value = _taken_by_rounds(bench, r) or quotient(r, base[key])
            points.setdefault((place(r), series(r)), Point(place(r), series(r), *value))
    return list(points.values())


def parts_of_bounds(bench: dict) -> list[Point]:
    """The part of the bound of every row that has one; own recipes from the command's run where it has them."""
    points: dict[tuple[str, str], Point] = {}
    for r in sorted(usual(bench), key=lambda r: r.get("run") is not None):
        if (part := of_bound(r)) is not None:
            low, high = spread(r)
            points.setdefault((place(r), series(r)), Point(place(r), series(r), part, part * r["median_s"] / high, part * r["median_s"] / low))
    return list(points.values())
