"""Problem strings, and which problems of a bench file the peers are asked to compute."""

from collections.abc import Iterable
from dataclasses import dataclass

from real_layer.quantizer import WHOLE

# Operands by the words of rows: what the contenders of peers/contenders are given, for gmm and dlhs, and for tgmm.
OPERANDS = {
    "bf16": ("lhs=bf16 rhs=bf16", "lhs=bf16 rhs=bf16"),
    "blockwise": ("lhs=e4m3:1x128 rhs=e4m3:128x128", "lhs=e4m3:128x1 rhs=e4m3:128x1"),
    "weights_blockwise": ("lhs=bf16 rhs=e4m3:128x128", None),
}
# What makes a shape; other words of a row's problem (operands, kernel, tile) are those of its contender.
SHAPE_WORDS = ("g", "m", "k", "n", "dist", "seed", "data")
# Words that every peer can do without: each contender here computes the plain product.
PLAIN_WORDS = ("lhs", "rhs", "scale", "lscale", "rscale", "recipe", "out", "kernel", "tile", "threads")


@dataclass(frozen=True)
class Problem:
    """OP key=value ... (docs/cli.md)."""

    op: str
    words: dict[str, str]

    @staticmethod
    def parse(text: str) -> "Problem":
        op, *words = text.split()
        return Problem(op, dict(word.split("=", 1) for word in words))

    def __str__(self) -> str:
        return " ".join([self.op, *(f"{key}={value}" for key, value in self.words.items())])

    def with_operands(self, recipe: str) -> "Problem":
        """This problem's shape on the operands of a recipe; out is bf16, which every contender can write."""
        shape = {key: value for key, value in self.words.items() if key in SHAPE_WORDS}
        operands = OPERANDS[recipe][self.op == "tgmm"]
        return Problem.parse(f"{Problem(self.op, shape)} {operands} out=bf16")

    def block(self, side: str) -> tuple[int | None, int | None] | None:
        """Block of `lhs` or `rhs` in elements of its stored axes; None where it has no scales."""
        _, _, block = self.words[side].partition(":")
        if not block:
            return None
        rows, cols = (WHOLE if extent == "*" else int(extent) for extent in block.split("x"))
        return rows, cols


@dataclass(frozen=True)
class Shape:
    """One op on one shape of a preset. Copies: how many copies of the weights calls take in turn, so that no cache holds them."""

    op: str
    name: str
    problem: Problem
    copies: int = 1


def shapes_of(rows: Iterable[dict]) -> list[Shape]:
    """Every plain product among a bench file's rows, once for each op and shape, in their order."""
    shapes: dict[tuple[str, str], Shape] = {}
    for row in rows:
        problem = Problem.parse(row["problem"])
        plain = row["op"] in ("gmm", "dlhs", "tgmm") and set(problem.words) <= {*SHAPE_WORDS, *PLAIN_WORDS}
        if plain and row.get("run") != "peers":
            shapes.setdefault((row["op"], row["shape"]), Shape(row["op"], row["shape"], problem, row.get("weight_copies", 1)))
    return list(shapes.values())
