"""python -m real_layer --ragdot COMMAND --out FOLDER: runs the main job and prints its table."""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from real_layer.cases import Command
from real_layer.experts import Experts, hidden_gradient, split
from real_layer.model import FeedForward, gelu, layer_and_input, package_folder
from real_layer.oracle import check
from real_layer.quantizer import WHOLE, Quantized, as_bf16, quantize

LAYER, WINDOWS, EXPERTS, TOP = 3, 24, 8, 3
RECIPES = ("bf16", "channelwise", "blockwise", "blockwise_e8m0")


@dataclass
class Row:
    """One line of the table."""

    op: str
    recipe: str
    cosine: float
    worst: float
    seconds: float
    weight_bytes: int


def quantized(x: np.ndarray, recipe: str, blockwise: tuple, channelwise: tuple) -> Quantized:
    """x by a recipe; the blocks are those of the operand's own axes."""
    if recipe == "bf16":
        return as_bf16(x)
    return quantize(x, channelwise if recipe == "channelwise" else blockwise, recipe == "blockwise_e8m0")


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two arrays as vectors."""
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """|a - b| / |b|."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


class Job:
    """The layer, its experts, and the command that computes them."""

    def __init__(self, command: Command, layer: FeedForward, experts: Experts, x: np.ndarray):
        self.command, self.layer, self.experts, self.x = command, layer, experts, x
        self.rows: list[Row] = []

    def product(self, op: str, name: str, recipe: str, lhs: Quantized, rhs: Quantized, f32: np.ndarray) -> np.ndarray:
        """Computes one product, checks it, adds its line."""
        answer = self.command.compute(f"{name}.{recipe}", op, lhs, rhs, self.experts.sizes)
        worst, _ = check(op, lhs, rhs, self.experts.sizes, answer.out)
        weights = rhs.nbytes() if op != "tgmm" else 0
        self.rows.append(Row(name, recipe, cosine(answer.out, f32), worst, answer.seconds, weights))
        return answer.out

    def forward(self, recipe: str) -> np.ndarray:
        """The routed layer with both of its products by a recipe: y [tokens, 384]."""
        e, x = self.experts, self.x[self.experts.tokens]
        act, weight = ((1, 128), (1, WHOLE)), ((128, 128), (WHOLE, 1))
        up = self.product("gmm", "gmm_up", recipe, quantized(x, recipe, *act), quantized(e.up, recipe, *weight), e.grouped(x, e.up))
        hidden = gelu(up + e.bias_rows()).astype(np.float32)
        down = self.product("gmm", "gmm_down", recipe, quantized(hidden, recipe, *act), quantized(e.down, recipe, *weight), e.grouped(hidden, e.down))
        return e.combine(down, len(self.x)) + self.layer.down_bias

    def backward(self, recipe: str, gradient: np.ndarray) -> None:
        """Input gradient and weight gradient of the up product."""
        e, x = self.experts, self.x[self.experts.tokens]
        self.product("dlhs", "dlhs_up", recipe, quantized(gradient, recipe, (1, 128), (1, WHOLE)),
                     quantized(e.up, recipe, (128, 128), (1, WHOLE) if recipe == "channelwise" else (128, 128)),
                     e.grouped(gradient, e.up.transpose(0, 2, 1)))  # fmt: skip
        f32 = np.stack([x[rows].T @ gradient[rows] for _, rows in e.per_group()])
        columns = ((128, 1), (WHOLE, 1))
        self.product("tgmm", "tgmm_up", recipe, quantized(x, recipe, *columns), quantized(gradient, recipe, *columns), f32)


def print_table(rows: list[Row]) -> None:
    """One line for each product and recipe."""
    base = {r.op: r.seconds for r in rows if r.recipe == "bf16"}
    print(f"{'op':<10} {'recipe':<15} {'cosine to f32':>13} {'worst err/bound':>16} {'time':>9} {'time/bf16':>10} {'weights':>10}")
    for r in sorted(rows, key=lambda r: r.op):
        weights = f"{r.weight_bytes / 1e6:.2f} MB" if r.weight_bytes else "-"
        print(f"{r.op:<10} {r.recipe:<15} {r.cosine:>13.6f} {r.worst:>16.4f} {r.seconds * 1e3:>6.1f} ms "
              f"{r.seconds / base[r.op]:>10.2f} {weights:>10}")  # fmt: skip


def quantize_checkpoint(command: Command) -> None:
    """The whole checkpoint to blockwise FP8."""
    out = command.folder / "model_fp8.safetensors"
    report = json.loads(command.call("quantize", str(package_folder() / "model.safetensors"), "-o", str(out), "--overwrite", "--json"))
    done = [t for t in report["tensors"] if t["quantised"]]
    before, after = (sum(t[key] for t in done) / 1e6 for key in ("bytes_before", "bytes_after"))
    error = max(t["relative_error"] for t in done)
    print(f"checkpoint: {len(done)} of {len(report['tensors'])} tensors quantised, {before:.1f} -> {after:.1f} MB, "
          f"relative error at most {error:.4f}")  # fmt: skip


def main() -> int:
    """The whole job; 1 when a result is outside its bound."""
    parser = argparse.ArgumentParser(prog="real_layer", description=__doc__)
    parser.add_argument("--ragdot", required=True, help="the ragdot command")
    parser.add_argument("--out", required=True, type=Path, help="folder for all outputs")
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    command = Command(words.ragdot, words.out)
    start = time.monotonic()

    quantize_checkpoint(command)
    layer, x = layer_and_input(LAYER, WINDOWS)
    experts = split(layer, x, EXPERTS, TOP)
    print(f"layer {LAYER}: {len(x)} tokens of real text, {EXPERTS} experts of {experts.up.shape[2]} neurons, top {TOP}; "
          f"rows by expert: {', '.join(str(s) for s in experts.sizes)}\n")  # fmt: skip
    job = Job(command, layer, experts, x)
    gradient = hidden_gradient(layer, experts, x)
    outputs = {}
    for recipe in RECIPES:
        outputs[recipe] = job.forward(recipe)
        job.backward(recipe, gradient)
    print_table(job.rows)

    dense = layer(x)
    rows = x[experts.tokens]
    routed = experts.combine(experts.grouped(gelu(experts.grouped(rows, experts.up) + experts.bias_rows()), experts.down), len(x)) + layer.down_bias
    print("\nthe layer end to end, |difference| / |reference|:")
    print(f"  routed to {TOP} of {EXPERTS} experts, f32, against the dense layer: {relative(routed, dense):.4f}")
    for recipe, y in outputs.items():
        print(f"  routed, {recipe:<14} against routed f32: {relative(y, routed):.5f}")
    print(f"\ncases, answers and the FP8 checkpoint lie in {words.out}/ ({time.monotonic() - start:.0f} s)")
    print(f"next: ./dev ragdot run {words.out}/gmm_up.blockwise.case.safetensors -o {words.out}/again.safetensors --tile 64x128x64\n"
          "      ./dev ragdot verify --preset seed")  # fmt: skip
    outside = [r for r in job.rows if not r.worst <= 1]
    for r in outside:
        print(f"OUTSIDE ITS BOUND: {r.op} {r.recipe}: {r.worst:.3f} times", file=sys.stderr)
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
