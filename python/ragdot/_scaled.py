"""Quantised operands: values, and scales on a grid of blocks."""

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ragdot import _abi
from ragdot._arrays import OPERANDS, SCALES, VALUES, as_array, has_unit_stride, to_read, view_of
from ragdot._choices import integer_of, number_of

Block = tuple[int | None, int | None]


@dataclass(frozen=True, eq=False, repr=False)
class ScaledArray:
    """values * scales: an operand of FP8 or int8 with the scales of its blocks.

    values: [rows, cols] or [batch, rows, cols]; float8_e4m3fn, float8_e5m2 or int8.
    scales: float32, bfloat16 or float8_e8m0fnu; scale (r // block[0], c // block[1]) belongs to element (r, c), so their extents
        are ceil(dim / block), after the same batch axis.
    block: rows and columns that share one scale; None is the whole axis.
    origin: "global": blocks start at row 0. "per_group": they start anew at each group's first row, and the scale rows of all
        groups follow each other, ceil(size / block[0]) each (whole axis: one each, empty groups too).

    No array is copied or checked here: those of numpy, or anything that speaks DLPack, are held as they are.
    """

    values: Any
    scales: Any
    block: Block
    origin: str = "global"

    def __post_init__(self) -> None:
        if type(self.block) is not tuple:  # plans and transformations compare blocks
            try:
                block = tuple(None if extent is None else operator.index(extent) for extent in self.block)
            except TypeError:  # the call that uses it says so
                return
            object.__setattr__(self, "block", block)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the values."""
        return tuple(self.values.shape)

    def __repr__(self) -> str:
        blocks = "x".join("*" if extent is None else str(extent) for extent in self.block)
        values, scales = (f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else repr(x) for x in (self.values, self.scales))
        return f"ScaledArray({values}, scales {scales}, block {blocks}, {self.origin})"

    def transposed(self) -> "ScaledArray":
        """Rows and columns exchanged by the arrays' own swapaxes: those of numpy on the same memory, those of jax also while tracing.

        Not for per_group scales: their groups lie along the rows.
        """
        if self.origin != "global":
            raise ValueError(f"ScaledArray: origin is {self.origin}; only scales of origin global can be transposed")
        arrays = (x if hasattr(x, "swapaxes") else as_array("ScaledArray", x) for x in (self.values, self.scales))
        values, scales = (x.swapaxes(-1, -2) for x in arrays)
        return ScaledArray(values, scales, (self.block[1], self.block[0]), self.origin)


def transposed(op: str, name: str, x: Any) -> Any:
    """An operand with rows and columns exchanged, a view."""
    if isinstance(x, ScaledArray):
        values, scales = as_array(f"{op}: {name}", x.values, VALUES), as_array(f"{op}: {name} scales", x.scales, SCALES)
        return ScaledArray(values, scales, x.block, x.origin).transposed()
    return np.swapaxes(as_array(f"{op}: {name}", x, OPERANDS), -1, -2)


def block_of(op: str, block: Any) -> tuple[int, int]:
    """A block as the library has it."""
    try:
        rows, cols = block
        extents = tuple(_abi.WHOLE_AXIS if extent is None else integer_of(op, "block", extent) for extent in (rows, cols))
    except (TypeError, ValueError):
        raise ValueError(f"{op}: block is {block!r}; give (rows, columns) that share a scale, None for a whole axis") from None
    if min(extents) < 1:
        raise ValueError(f"{op}: block is {block!r}; its extents must be 1 or more, or None for a whole axis")
    return extents[0], extents[1]


def fill_operand(op: str, name: str, x: Any, ndim: int, shape: str, operand: _abi.Operand) -> tuple[np.ndarray, ...]:
    """Writes the C struct of an array or a ScaledArray. Returns the arrays on whose memory it points."""
    scaled = isinstance(x, ScaledArray)
    values = to_read(f"{op}: {name}", x.values if scaled else x, ndim, shape, VALUES if scaled else OPERANDS)
    if not has_unit_stride(values):
        values = np.ascontiguousarray(values)
    operand.values = view_of(values)
    if not scaled:
        return (values,)
    scales = to_read(f"{op}: {name} scales", x.scales, ndim, shape, SCALES)
    origin = number_of(op, f"origin of {name}", x.origin, _abi.ORIGINS)
    operand.scales = _abi.Scales(view_of(scales), *block_of(f"{op}: {name}", x.block), origin)
    return values, scales
