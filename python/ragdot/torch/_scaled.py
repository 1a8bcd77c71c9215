"""Quantised tensors: values, and scales on a grid of blocks."""

from dataclasses import dataclass, field

import torch

from ragdot import _abi
from ragdot._scaled import Block
from ragdot.torch import _operators as ops


def grid_of(block: Block, per_group: bool = False) -> list[int]:
    """A grid as operators take it."""
    rows, cols = block
    return [_abi.WHOLE_AXIS if rows is None else rows, _abi.WHOLE_AXIS if cols is None else cols, 1 if per_group else 0]


@dataclass(frozen=True)
class ScaledTensor:
    """values * scales: what grouped_mm takes in place of a tensor that it would quantise.

    values: [rows, cols] or [batch, rows, cols]; float8_e4m3fn, float8_e5m2 or int8.
    scales: float32, bfloat16 or float8_e8m0fnu; scale (r // block[0], c // block[1]) belongs to element (r, c), so their extents
        are ceil(dim / block), after the same batch axis.
    block: rows and columns that share one scale; None is the whole axis.
    origin: "global": blocks start at row 0. "per_group": they start anew at each group's first row, and the scale rows of all groups
        follow each other; rows of scales behind the last group's are not read.

    Nothing is copied or checked here; products check it.
    """

    values: torch.Tensor
    scales: torch.Tensor
    block: Block
    origin: str = "global"
    # As operators take it. Kept, because torch.compile guards whatever it would be made from.
    grid: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        object.__setattr__(self, "grid", grid_of(self.block, self.origin == "per_group"))

    @property
    def shape(self) -> torch.Size:
        """Of the values."""
        return self.values.shape

    @property
    def device(self) -> torch.device:
        """Of the values."""
        return self.values.device

    @property
    def ndim(self) -> int:
        """Of the values."""
        return self.values.ndim

    def transpose(self, dim0: int, dim1: int) -> "ScaledTensor":
        """The same memory with the last two axes exchanged, no others. Not for per_group scales: their groups lie along the rows."""
        if {dim0 % self.ndim, dim1 % self.ndim} != {self.ndim - 2, self.ndim - 1}:
            raise ValueError(f"ScaledTensor: transpose({dim0}, {dim1}) of {self.ndim} axes; only the last two can be exchanged")
        if self.origin != "global":
            raise ValueError(f"ScaledTensor: origin is {self.origin}; only scales of origin global can be transposed")
        return ScaledTensor(self.values.transpose(-1, -2), self.scales.transpose(-1, -2), self.block[::-1])

    def dequantize(self, dtype: torch.dtype = torch.float32, offs: torch.Tensor | None = None) -> torch.Tensor:
        """value * scale, rounded once to float32, then to dtype. Ends of groups are needed for per_group scales."""
        if self.origin != "global" and offs is None:
            raise ValueError("ScaledTensor: origin is per_group; give offs, the ends of the groups")
        return ops.dequantize(self.values, self.scales, self.grid, offs, dtype)


def quantize(x: torch.Tensor, block: Block, format: str = "e4m3", scaling: str = "absmax", scale_format: str = "f32",
             offs: torch.Tensor | None = None) -> ScaledTensor:  # fmt: skip
    """Quantises blocks, each with a scale of its own; no gradient passes.

    x: [rows, cols] or [batch, rows, cols]; float32, bfloat16 or float16, any strides.
    block: (rows, columns) that share a scale; None is the whole axis: (1, 128), (128, 128), (1, None).
    format: "e4m3", "e5m2" or "i8". scaling: "absmax", "pow2" or "mx". scale_format: "f32", "bf16" or, for pow2 and mx, "e8m0".
    offs: int32 or int64 end rows of groups over the rows of one matrix: blocks start anew at each group's first row, and the scales
        are per_group. docs/quantisation.md has every corner.
    """
    if x.ndim not in (2, 3):
        raise ValueError(f"quantize: x has shape {list(x.shape)}; it must be [rows, columns] or [batch, rows, columns]")
    for what, name, names in (("format", format, ("e4m3", "e5m2", "i8")), ("scaling", scaling, ("absmax", "pow2", "mx")),
                              ("scale_format", scale_format, ("f32", "bf16", "e8m0"))):  # fmt: skip
        if name not in names:
            raise ValueError(f"quantize: {what} is {name!r}; it must be one of {', '.join(names)}")
    values, scales = ops.quantize(x.detach(), offs, grid_of(block), format, scaling, scale_format)
    return ScaledTensor(values, scales, tuple(block), "global" if offs is None else "per_group")
