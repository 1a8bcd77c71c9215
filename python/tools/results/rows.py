"""What the page and the pictures say of a row of a bench file."""

import re


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


def over_bf16(bench: dict) -> list[tuple[str, str, float]]:
    """(place, series, time over the library's bf16 time in the same run) of every row but bf16's; own recipes from the command's run
    where it has them."""
    rows = usual(bench)
    base = {(place(r), r.get("run")): r["median_s"] for r in rows if series(r) == "ragdot bf16"}
    points: dict[tuple[str, str], float] = {}
    for r in sorted(rows, key=lambda r: r.get("run") is not None):
        key = place(r), r.get("run")
        if key in base and series(r) != "ragdot bf16":
            points.setdefault((place(r), series(r)), r["median_s"] / base[key])
    return [(where, what, value) for (where, what), value in points.items()]


def parts_of_bounds(bench: dict) -> list[tuple[str, str, float]]:
    """(place, series, part of the bound) of every row that has one; own recipes from the command's run where it has them."""
    points: dict[tuple[str, str], float] = {}
    for r in sorted(usual(bench), key=lambda r: r.get("run") is not None):
        if (part := of_bound(r)) is not None:
            points.setdefault((place(r), series(r)), part)
    return [(where, what, part) for (where, what), part in points.items()]
