"""From float32, bfloat16 or float16 to scaled FP8 or int8, and back."""

import ctypes
from typing import Any

import numpy as np

from ragdot import _abi
from ragdot._arrays import DTYPES, FLOATS, SCALES, VALUES, as_array, dtype_of, to_read, to_write, view_of
from ragdot._choices import number_of, options_of
from ragdot._groups import Groups, as_groups
from ragdot._library import LIBRARY, check
from ragdot._scaled import Block, ScaledArray, block_of, fill_operand


def _matrix(op: str, x: Any) -> np.ndarray:
    """An input of two or three axes."""
    array = as_array(f"{op}: x", x, FLOATS)
    return to_read(f"{op}: x", array, 3 if array.ndim == 3 else 2, "[rows, columns] or [batch, rows, columns]", FLOATS)


def _blocks(extent: int, block: int) -> int:
    """How many blocks an axis has."""
    return 1 if block == _abi.WHOLE_AXIS else -(-extent // max(block, 1))


def _scale_rows(rows: int, block: int, groups: Groups | None) -> int:
    """Scale rows of a global axis, or of all groups together. Sizes that break a rule are refused by the call."""
    if groups is None:
        return _blocks(rows, block)
    return groups.count if block == _abi.WHOLE_AXIS else int(-(-np.clip(groups.sizes(), 0, rows) // max(block, 1)).sum())


def _empty(shape: tuple[int, ...], dtype: np.dtype, order: str) -> np.ndarray:
    """New memory; order "F" has columns contiguous within each matrix."""
    return np.empty(shape, dtype) if order == "C" else np.empty((*shape[:-2], shape[-1], shape[-2]), dtype).swapaxes(-1, -2)


class _Copy:
    """One quantised copy to be: its arrays, and the struct that points to them."""

    def __init__(self, op: str, shape: tuple[int, ...], block: Block, format: Any, scaling: str, scale_format: Any,
                 groups: Groups | None, scales: Any, order: str):  # fmt: skip
        if (scales is not None) != (scaling == "fixed"):
            raise ValueError(f"{op}: scaling is {scaling!r}; {'give its' if scales is None else 'only fixed takes'} scales")
        if order not in ("C", "F"):
            raise ValueError(f"{op}: order is {order!r}; it must be C or F")
        rows, cols = block_of(op, block)
        extents = (*shape[:-2], _scale_rows(shape[-2], rows, groups), _blocks(shape[-1], cols))
        if scales is None:
            scales = np.empty(extents, dtype_of(f"{op}: scale_format", scale_format, SCALES))
        else:
            scales = to_read(f"{op}: scales", scales, len(shape), f"{list(extents)}", SCALES)
            if scale_format != "f32" and dtype_of(f"{op}: scale_format", scale_format, SCALES) != scales.dtype:
                raise ValueError(f"{op}: scale_format is {scale_format!r} and the scales that are given are {scales.dtype}; leave scale_format out")
        values = _empty(shape, dtype_of(f"{op}: format", format, VALUES), order)
        self.result = ScaledArray(values, scales, (block[0], block[1]), "global" if groups is None else "per_group")
        recipe = number_of(op, "scaling", scaling, _abi.RECIPES)
        self.struct = _abi.QuantizedOut(view_of(values), _abi.ScalesOut(view_of(scales), rows, cols), recipe)


def _groups_pointer(groups: Groups | None) -> Any:
    if groups is None:
        return None
    struct = _abi.Groups()
    groups.fill(struct)
    return ctypes.pointer(struct)


def quantize(x: Any, block: Block, format: Any = "e4m3", scaling: str = "absmax", scale_format: Any = "f32", groups: Any = None, *,
             scales: Any = None, order: str = "C", kernel: str | None = None, threads: int | None = None,
             strict: bool = False) -> ScaledArray:  # fmt: skip
    """Quantises blocks, each with a scale of its own.

    x: [rows, cols] or [batch, rows, cols]; float32, bfloat16 or float16. A batch is quantised matrix by matrix.
    block: (rows, columns) that share a scale; None is the whole axis: (1, 128), (128, 128), (1, None), (None, None).
    format: "e4m3", "e5m2" or "i8", or its dtype.
    scaling: "absmax": the largest finite magnitude over the format's largest value. "pow2": the smallest power of two that does
        not saturate. "mx": OCP MX's power of two. "fixed": by `scales`, which are kept as they are.
    scale_format: "f32", "bf16" or, for pow2 and mx, "e8m0".
    groups: sizes [G] or Groups over the rows of one matrix: blocks start anew at each group's first row, nothing outside is read,
        the scales are per_group. None: blocks start at row 0.
    order: "F" stores the values with columns contiguous: the transposed copy.

    An all-zero block has scale 1. NaN becomes NaN (int8 refuses it), Inf saturates (strict refuses it); a refusal names the element.
    docs/quantisation.md has every corner. Raises as gmm does; the GIL is released.
    """
    array, of = _matrix("quantize", x), None if groups is None else as_groups(groups)
    copy = _Copy("quantize", array.shape, block, format, scaling, scale_format, of, scales, order)
    args = _abi.QuantizeArgs(ctypes.sizeof(_abi.QuantizeArgs), view_of(array), _groups_pointer(of), copy.struct)
    check(LIBRARY.ragdot_quantize(args, options_of("quantize", None, kernel, threads, strict)))
    return copy.result


def quantize_both(x: Any, row_block: Block = (1, 128), col_block: Block = (128, 1), format: Any = "e4m3", scaling: str = "absmax",
                  scale_format: Any = "f32", groups: Any = None, *, col_order: str = "C", kernel: str | None = None,
                  threads: int | None = None, strict: bool = False) -> tuple[ScaledArray, ScaledArray]:  # fmt: skip
    """Two quantised copies from one read of x: for the forward product and for the weight gradient.

    Each equals what quantize gives with its block; col_order is the order of the second one's values.
    """
    array, of = _matrix("quantize_both", x), None if groups is None else as_groups(groups)
    rows, cols = (_Copy("quantize_both", array.shape, block, format, scaling, scale_format, of, None, order)
                  for block, order in ((row_block, "C"), (col_block, col_order)))  # fmt: skip
    args = _abi.QuantizeBothArgs(ctypes.sizeof(_abi.QuantizeBothArgs), view_of(array), _groups_pointer(of), rows.struct, cols.struct)
    check(LIBRARY.ragdot_quantize_both(args, options_of("quantize_both", None, kernel, threads, strict)))
    return rows.result, cols.result


def _input(op: str, x: ScaledArray, operand: _abi.Operand) -> tuple[np.ndarray, ...]:
    if not isinstance(x, ScaledArray):
        raise ValueError(f"{op}: x is a {type(x).__name__}; give a ScaledArray")
    return fill_operand(op, "x", x, len(x.shape), "[rows, columns] or [batch, rows, columns]", operand)


def requantize(x: ScaledArray, block: Block, format: Any = None, scaling: str = "absmax", scale_format: Any = "f32", groups: Any = None, *,
               scales: Any = None, order: str = "C", kernel: str | None = None, threads: int | None = None,
               strict: bool = False) -> ScaledArray:  # fmt: skip
    """Scaled values on another grid, in another format or scaling, through float32(value * scale).

    Such as activations that arrive with a scale for each row and 128 columns, for tgmm, which wants one for each column and 128 rows:
    requantize(x, (128, 1)). format: None keeps that of x. groups are needed where x's scales are per_group, and make those of the
    result per_group. The rest is as in quantize.
    """
    args = _abi.RequantizeArgs(struct_size=ctypes.sizeof(_abi.RequantizeArgs))
    held = _input("requantize", x, args.input)
    of = None if groups is None else as_groups(groups)
    copy = _Copy("requantize", held[0].shape, block, held[0].dtype if format is None else format, scaling, scale_format, of, scales, order)
    args.groups, args.out = _groups_pointer(of), copy.struct
    check(LIBRARY.ragdot_requantize(args, options_of("requantize", None, kernel, threads, strict)))
    return copy.result


def dequantize(x: ScaledArray, dtype: Any = "f32", groups: Any = None, *, out: np.ndarray | None = None, kernel: str | None = None,
               threads: int | None = None, strict: bool = False) -> np.ndarray:  # fmt: skip
    """value * scale, rounded once to float32, then to dtype ("f32", "bf16", "f16"; with out given: that of out).

    groups are needed where x's scales are per_group; rows outside them become zero. Returns an array of x's shape.
    """
    args = _abi.DequantizeArgs(struct_size=ctypes.sizeof(_abi.DequantizeArgs))
    held = _input("dequantize", x, args.input)
    of = None if groups is None else as_groups(groups)
    if out is None:
        out = np.empty(held[0].shape, dtype_of("dequantize: dtype", dtype, FLOATS))
    args.groups = _groups_pointer(of)
    args.out = view_of(to_write("dequantize: out", out, held[0].ndim, f"{list(held[0].shape)}"))
    check(LIBRARY.ragdot_dequantize(args, options_of("dequantize", None, kernel, threads, strict)))
    return out


def to_e8m0(scales: Any) -> Any:
    """float32 scales that are all powers of two, as float8_e8m0fnu; of a ScaledArray its scales.

    Raises ValueError that names the first scale that is no power of two from 2^-126 to 2^127.
    """
    if isinstance(scales, ScaledArray):
        return ScaledArray(scales.values, to_e8m0(scales.scales), scales.block, scales.origin)
    array = as_array("to_e8m0: scales", scales, ("f32",))
    array = to_read("to_e8m0: scales", array, 3 if array.ndim == 3 else 2, "[rows, columns] or [batch, rows, columns]", ("f32",))
    codes = np.empty(array.shape, DTYPES["e8m0"])
    check(LIBRARY.ragdot_to_e8m0(view_of(array), view_of(codes)))
    return codes
