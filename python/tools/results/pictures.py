"""Two dot plots of a bench file: time over bf16's, and part of the machine's nearest limit. One row a shape, one colour a contender."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: E402

from results.rows import Point, over_bf16, parts_of_bounds  # noqa: E402

# Colours of Okabe and Ito, which the colour-blind can tell apart; the library's recipes are filled circles, rivals other marks.
STYLES = {
    "ragdot bf16": ("#000000", "o"), "ragdot blockwise": ("#0072B2", "o"), "ragdot blockwise_e8m0": ("#56B4E9", "o"),
    "ragdot channelwise": ("#009E73", "o"), "ragdot mx": ("#CC79A7", "o"), "ragdot i8": ("#999999", "o"),
    "onednn_bf16": ("#D55E00", "s"), "torch_loop": ("#E69F00", "^"), "torch_grouped_mm": ("#E69F00", "D"),
    "vllm_fp8": ("#CC79A7", "X"), "jax_ragged_dot": ("#009E73", "P"),
}  # fmt: skip
OTHER_STYLE = ("#666666", "v")
ROW_INCHES = 0.32


def dots(points: list[Point], title: str, axis: str, line_at: float, path: Path, logarithmic: bool) -> None:
    """Places from top to bottom in the order of the points; bars are spreads; a vertical line where a value is 1, or the limit."""
    places = list(dict.fromkeys(p.place for p in points))
    known = [name for name in STYLES if any(p.series == name for p in points)]
    names = known + sorted({p.series for p in points} - set(known))
    figure, axes = plt.subplots(figsize=(8.5, 1.9 + ROW_INCHES * len(places)), layout="constrained")
    axes.axvline(line_at, color="#444444", linewidth=1, zorder=1)
    for name in names:
        colour, mark = STYLES.get(name, OTHER_STYLE)
        mine = [p for p in points if p.series == name]
        shift = 0.5 * ((names.index(name) + 0.5) / len(names) - 0.5)  # so that bars do not hide each other
        heights = [places.index(p.place) + shift for p in mine]
        axes.hlines(heights, [p.low for p in mine], [p.high for p in mine], color=colour, linewidth=1.2, alpha=0.7, zorder=2)
        axes.scatter([p.value for p in mine], heights, s=44, color=colour, marker=mark, label=name, edgecolors="white", linewidths=0.6, zorder=3)
    if logarithmic:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, max(1.05, *(1.05 * p.high for p in points)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.0f} %"))
    axes.set_yticks(range(len(places)), places)
    axes.set_ylim(len(places) - 0.5, -0.5)
    axes.grid(axis="both", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(axis)
    axes.set_title(title, loc="left", fontsize=11)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def draw(bench: dict, preset: str, folder: Path) -> list[str]:
    """Writes <preset>_over_bf16.png and <preset>_of_bound.png where there is something to show; returns the names written."""
    cpu, written = bench["machine"]["cpu"], []
    if points := over_bf16(bench):
        written.append(f"{preset}_over_bf16.png")
        dots(points, f"{preset}: time over ragdot's bf16 ({cpu})", "time / time of ragdot bf16 in the same run (left is faster)", 1,
             folder / written[-1], True)  # fmt: skip
    if points := parts_of_bounds(bench):
        written.append(f"{preset}_of_bound.png")
        dots(points, f"{preset}: part of the machine's nearest limit ({cpu})",
             "arithmetic peak, or memory bandwidth: whichever is nearer (right is better)", 1, folder / written[-1], False)  # fmt: skip
    return written
