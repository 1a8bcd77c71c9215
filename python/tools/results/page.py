"""The Markdown page of one preset: machine, command, rows, ratios, refusals."""

from results.rows import of_bound, place, preset_name, spread

HEAD = "| op, shape | contender | recipe | kernel | threads | median ms | spread ms | runs | TFLOP/s | GB/s | of peak | of reading | of its bound |"


def number(x: float | None, digits: int = 3) -> str:
    """Significant digits, no powers of ten for large numbers; nothing for a missing one."""
    return "" if x is None else f"{x:.0f}" if x >= 10**digits else f"{x:.{digits}g}"


def percent(x: float | None) -> str:
    return "" if x is None else f"{100 * x:.0f} %"


def row_line(r: dict) -> str:
    low, high = (number(seconds * 1e3) for seconds in spread(r))
    cells = [place(r), r["contender"], r["recipe"], r["kernel"], str(r["threads"]), number(r["median_s"] * 1e3, 4), f"{low} - {high}", str(r["runs"]),
             number(r.get("tflops") or None), number(r["gbs"]), percent(r.get("of_peak")), percent(r.get("of_read_bandwidth")),
             percent(of_bound(r))]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def table(rows: list[dict]) -> list[str]:
    return [HEAD, "|---" * 5 + "|---:" * 8 + "|", *(row_line(r) for r in rows)]


def machine_lines(bench: dict) -> list[str]:
    machine = bench["machine"]
    peaks = ", ".join(f"{name} {number(rate)}" for name, rate in machine.get("peak_tflops", {}).items() if rate)
    lines = [f"{machine['cpu']}, {machine['threads']} threads; {' '.join(machine.get('isa', []))}.",
             f"Peaks in TFLOP/s: {peaks or 'not measured'}. Reading {number(machine.get('read_gbs')) or '?'} GB/s, "
             f"copying {number(machine.get('copy_gbs')) or '?'} GB/s."]  # fmt: skip
    if machine.get("onednn"):
        lines.append(f"oneDNN {machine['onednn']}.")
    versions = sorted({f"{r['contender']} {r['version']}" for r in bench["rows"] if r.get("version") and r["contender"] != "ragdot"})
    return lines + ([f"Peers: {', '.join(versions)}."] if versions else [])


def refusal_line(r: dict) -> str:
    return f"- {place(r)}, {r['contender']} {r['recipe']}: {r['outcome']}: {r['refusal']}"


def ratio_line(bench: dict, key: str) -> str:
    low, high = bench["ratio_spreads"][key]
    return f"| `{key}` | {number(bench['ratios'][key])} | {number(low)} - {number(high)} |"


def ratio_table(bench: dict) -> list[str]:
    return ["| ratio | | spread |", "|---|---:|---:|", *(ratio_line(bench, key) for key in bench["ratios"])]


def on_kernels(bench: dict) -> list[str]:
    """The section of a run on kernels that were chosen."""
    return ["", f"## On kernel {', '.join(bench['kernels'])}", "", f"Another run: `{bench['command_line']}`.", "",
            *table(bench["rows"]), "", *ratio_table(bench)]  # fmt: skip


def page(bench: dict, others: list[dict], command: str, pictures: list[str]) -> str:
    """The whole page; `others` are runs on chosen kernels; `command` is what a reader runs to make it anew."""
    own = [r for r in bench["rows"] if r.get("run") is None]
    peers = [r for r in bench["rows"] if r.get("run") == "peers"]
    made = f"ragdot {bench['version']} at commit {bench.get('commit', 'unknown')}; made by `{command}`."
    lines = [f"# {preset_name(bench)} on {bench['machine']['cpu']}", "", *machine_lines(bench), "", f"{made} [How to read it](../README.md).", ""]
    lines += [f"![{name}]({name})" for name in pictures]
    lines += ["", "## ragdot bench", "", *table(own)]
    if peers:
        lines += ["", "## With peers", "", "Another run, on other problems: every out is bf16 (`../../peers.md`).", "", *table(peers)]
    lines += ["", "## Ratios", "", "Time over time within one run, or part of a bandwidth; below 1 the first of two times is the shorter.", "",
              *ratio_table(bench)]  # fmt: skip
    for other in others:
        lines += on_kernels(other)
    refused = [r for b in (bench, *others) for r in b.get("refused", [])]
    if refused:
        lines += ["", "## Not timed", "", *map(refusal_line, refused)]
    return "\n".join(lines) + "\n"
