"""A case as the contenders get it: operands in numpy, groups, and what the product of its real numbers is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from case_files import read_safetensors
from peers.problems import Problem
from real_layer.quantizer import Quantized


@dataclass
class Product:
    """What one group contributes: `place` of the result is a @ b, both float64 with their scales applied."""

    place: int | slice
    a: np.ndarray
    b: np.ndarray


@dataclass
class Case:
    """lhs [M, K] (dlhs: [M, N]); rhs [G, K, N] as stored, tgmm: [M, N]; scales on the blocks of the problem; sizes [G]."""

    problem: Problem
    lhs: np.ndarray
    rhs: np.ndarray
    sizes: np.ndarray
    lhs_scale: np.ndarray | None = None
    rhs_scale: np.ndarray | None = None

    @staticmethod
    def load(path: Path) -> "Case":
        tensors, metadata = read_safetensors(path)
        return Case(Problem.parse(metadata["problem"]), tensors["lhs"], tensors["rhs"], tensors["group_sizes"],
                    tensors.get("lhs_scale"), tensors.get("rhs_scale"))  # fmt: skip

    @property
    def op(self) -> str:
        return self.problem.op

    @property
    def ends(self) -> np.ndarray:
        """End row of each group, int32 [G]."""
        return np.cumsum(self.sizes).astype(np.int32)

    def row_ranges(self) -> list[slice]:
        """The rows of each group."""
        return [slice(int(end - size), int(end)) for end, size in zip(self.ends, self.sizes)]

    def inner_outer(self) -> np.ndarray:
        """gmm's and dlhs's rhs as [G, inner, outer], a view."""
        return self.rhs.transpose(0, 2, 1) if self.op == "dlhs" else self.rhs

    def out_shape(self) -> tuple[int, ...]:
        """[M, N]; dlhs: [M, K]; tgmm: [G, K, N]."""
        if self.op == "tgmm":
            return len(self.sizes), self.lhs.shape[1], self.rhs.shape[1]
        return self.lhs.shape[0], self.inner_outer().shape[2]

    def operations(self) -> float:
        """Multiplications and additions of all groups."""
        out = self.out_shape()
        depth = 1 if self.op == "tgmm" else self.lhs.shape[1]
        return 2.0 * float(self.sizes.sum()) * depth * (out[1] * out[2] if self.op == "tgmm" else out[1])

    def bytes_moved(self) -> float:
        """Bytes of operands with scales, without weights of empty groups, and of a bf16 out, each once."""
        rows = float(self.sizes.sum()) / max(self.lhs.shape[0], 1)
        used = float(np.count_nonzero(self.sizes)) / max(len(self.sizes), 1)
        lhs, rhs = (values.nbytes + (0 if scales is None else scales.nbytes)
                    for values, scales in ((self.lhs, self.lhs_scale), (self.rhs, self.rhs_scale)))  # fmt: skip
        return lhs * rows + rhs * (rows if self.op == "tgmm" else used) + 2.0 * float(np.prod(self.out_shape()))

    def real(self, side: str, matrix: int | None = None) -> np.ndarray:
        """Values times scales in float64: of lhs or rhs, or of one of rhs's matrices."""
        values, scales, block = getattr(self, side), getattr(self, f"{side}_scale"), self.problem.block(side)
        if matrix is not None:
            values, scales = values[matrix], None if scales is None else scales[matrix]
        if block is None:
            return values.astype(np.float64)
        return values.astype(np.float64) * Quantized(values, scales, block).scale_of_elements()

    def products(self) -> Iterator[Product]:
        """One for each group that has rows."""
        lhs = self.real("lhs")
        rhs = self.real("rhs") if self.op == "tgmm" else None
        for group, rows in enumerate(self.row_ranges()):
            if rows.start == rows.stop:
                continue
            if rhs is not None:
                yield Product(group, lhs[rows].T, rhs[rows])
            else:
                weights = self.real("rhs", group)
                yield Product(rows, lhs[rows], weights.T if self.op == "dlhs" else weights)
