"""What training examples share: text to learn from, the command that trains by recipes, the mean of the last losses, a picture."""

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")
WIDTH, HEIGHT, MARGIN = 720, 400, 50
LAST = 50
# One training run: the loss of every step.
Runs = dict[str, list[list[float]]]


def text() -> bytes:
    """The project's own pages and sources."""
    root = Path(__file__).resolve().parents[1]
    files = sorted(path for pattern in ("*.md", "docs/**/*.md", "include/**/*.h*", "src/**/*.[ch]pp") for path in root.glob(pattern))
    return b"".join(path.read_bytes() for path in files)


def mean_of_last(losses: Sequence[float]) -> float:
    return statistics.fmean(losses[-LAST:])


def table(runs: Runs) -> str:
    """The mean loss of the last steps, averaged over seeds, and its distance to bf16's; bf16's own spread over seeds is its measure."""
    lasts = {recipe: [mean_of_last(losses) for losses in of_seeds] for recipe, of_seeds in runs.items()}
    base = statistics.fmean(lasts["bf16"])
    lines = [f"{'recipe':<16} {'loss':>8} {'to bf16':>9}   over seeds"]
    for recipe, values in lasts.items():
        mean = statistics.fmean(values)
        lines.append(f"{recipe:<16} {mean:>8.4f} {100 * (mean / base - 1):>+8.2f} %   {min(values):.4f} .. {max(values):.4f}")
    return "\n".join(lines)


def smoothed(losses: Sequence[float], over: int = 10) -> list[float]:
    return [statistics.fmean(losses[max(0, i - over + 1) : i + 1]) for i in range(len(losses))]


def picture(runs: Runs, title: str) -> str:
    """An SVG: the mean over seeds of every recipe, smoothed over ten steps."""
    curves = {recipe: smoothed([statistics.fmean(step) for step in zip(*of_seeds)]) for recipe, of_seeds in runs.items()}
    steps = max(2, *(len(curve) for curve in curves.values()))
    low, high = min(map(min, curves.values())), max(map(max, curves.values()))
    span = (high - low) or 1.0

    def x(step: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * step / (steps - 1)

    def y(loss: float) -> float:
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (loss - low) / span

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             f'<text x="{MARGIN}" y="24">{title}</text>',
             f'<path d="M{MARGIN} {MARGIN}V{HEIGHT - MARGIN}H{WIDTH - MARGIN}" stroke="black" fill="none"/>']  # fmt: skip
    for at in (low, (low + high) / 2, high):
        parts.append(f'<text x="{MARGIN - 6}" y="{y(at) + 4:.1f}" text-anchor="end">{at:.2f}</text>')
    for at in (0, (steps - 1) // 2, steps - 1):
        parts.append(f'<text x="{x(at):.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{at + 1}</text>')
    for (recipe, curve), colour, line in zip(curves.items(), COLOURS, range(len(curves))):
        points = " ".join(f"{x(step):.1f},{y(loss):.1f}" for step, loss in enumerate(curve))
        parts.append(f'<polyline points="{points}" stroke="{colour}" fill="none" stroke-width="1.5"/>')
        parts.append(f'<text x="{WIDTH - MARGIN}" y="{MARGIN + 16 * line}" text-anchor="end" fill="{colour}">{recipe}</text>')
    return "\n".join([*parts, "</svg>\n"])


def compare(train: Callable[[str, int, int, Any], list[float]], data: Any, title: str, picture_name: str) -> None:
    """The command of an example: losses of train(recipe, seed, steps, data) for each recipe and seed, their table and picture."""
    parser = argparse.ArgumentParser(description="Trains a small Mixture-of-Experts model in bf16 and FP8.")
    parser.add_argument("--recipes", nargs="+", default=["bf16", "blockwise"], help="bf16 is always among them (%(default)s)")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--picture", type=Path, default=Path(picture_name))
    given = parser.parse_args()
    runs: Runs = {}
    for recipe in dict.fromkeys(["bf16", *given.recipes]):
        runs[recipe] = [train(recipe, seed, given.steps, data) for seed in range(given.seeds)]
        print(f"{recipe}: {runs[recipe][0][0]:.3f} at first, {runs[recipe][0][-1]:.3f} after {given.steps} steps", flush=True)
    print(table(runs))
    given.picture.write_text(picture(runs, f"{title}, mean of {given.seeds} seeds"))
    print(f"picture: {given.picture}")
