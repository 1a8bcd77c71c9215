"""quantize and quantize_both in traced code."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ragdot import _abi, _quantisers
from ragdot._arrays import DTYPES, FLOATS, SCALES, VALUES, dtype_of
from ragdot._choices import number_of
from ragdot._scaled import Block, ScaledArray, block_of
from ragdot.jax._handlers import call
from ragdot.jax._operands import LOCAL, ORIGINS, CallGroups, check_fixed, groups_of, zeros

_SCALINGS = {name: number for name, number in _abi.RECIPES.items() if name != "fixed"}


def _input(op: str, x: Any) -> jax.Array:
    x = jnp.asarray(x)
    if x.ndim not in (2, 3):
        raise ValueError(f"{op}: x has shape {list(x.shape)}; it must be [rows, columns] or [batch, rows, columns]")
    check_fixed(op, "x", x)
    if x.dtype not in [DTYPES[name] for name in FLOATS]:
        raise ValueError(f"{op}: x is {x.dtype}; give float32, bfloat16 or float16")
    return x


def extents(shape: tuple[int, ...], rows: int, cols: int, local: int | None) -> tuple[int, ...]:
    """Of the scales; over so many groups those that the worst sizes need, since XLA's shapes do not depend on them."""
    height, width = shape[-2:]
    across = 1 if cols == _abi.WHOLE_AXIS else -(-width // cols)
    if local is None:
        down = 1 if rows == _abi.WHOLE_AXIS else -(-height // rows)
    elif rows == _abi.WHOLE_AXIS:
        down = local
    else:
        down = (height + min(local, height) * (rows - 1)) // rows
    return (*shape[:-2], down, across)


class _Copy:
    """One quantised copy to be: shapes of its arrays, and its grid as the handlers take it."""

    def __init__(self, op: str, shape: tuple[int, ...], block: Block, format: Any, scale_format: Any, groups: CallGroups | None, origin: str):
        rows, cols = block_of(op, block)
        scales = extents(shape, rows, cols, None if groups is None else groups.local)
        self.results = (jax.ShapeDtypeStruct(shape, dtype_of(f"{op}: format", format, VALUES)),
                        jax.ShapeDtypeStruct(scales, dtype_of(f"{op}: scale_format", scale_format, SCALES)))  # fmt: skip
        self.block, self.origin = (block[0], block[1]), origin
        self.grid = (rows, cols, ORIGINS[origin])

    def made(self, values: Any, scales: Any) -> ScaledArray:
        return ScaledArray(values, scales, self.block, self.origin)


def _copies(op: str, x: Any, blocks: tuple[Block, ...], format: Any, scaling: str, scale_format: Any, groups: CallGroups | None,
            origin: str) -> list[ScaledArray]:  # fmt: skip
    x, recipe = _input(op, x), number_of(op, "scaling", scaling, _SCALINGS)
    if groups is not None and x.ndim == 3:
        raise ValueError(f"{op}: x has shape {list(x.shape)} and groups are given; groups lie over the rows of one matrix")
    # An empty matrix meets the library's rules for formats and blocks now, x itself when the program runs.
    getattr(_quantisers, op)(np.empty((0, 0), x.dtype), *blocks, format, scaling, scale_format)
    copies = [_Copy(op, x.shape, block, format, scale_format, groups, origin) for block in blocks]
    given = CallGroups(zeros(0, jnp.int32), zeros(1, jnp.int32), 0) if groups is None else groups
    names = ("grid",) if len(copies) == 1 else ("row_grid", "col_grid")
    results = call(op, sum((copy.results for copy in copies), ()), x, given.sizes, given.offset,
                   **{name: copy.grid for name, copy in zip(names, copies)}, recipe=recipe, local=given.local)  # fmt: skip
    return [copy.made(*results[2 * i : 2 * i + 2]) for i, copy in enumerate(copies)]


def _all_groups(op: str, group_sizes: Any) -> tuple[CallGroups | None, str]:
    return (None, "global") if group_sizes is None else (groups_of(op, group_sizes, None, None), "per_group")


def quantize(x: Any, block: Block, format: Any = "e4m3", scaling: str = "absmax", scale_format: Any = "f32", group_sizes: Any = None) -> ScaledArray:
    """Quantises blocks, each with a scale of its own; words, blocks and bits as in ragdot.quantize.

    x: [rows, cols] or [batch, rows, cols]; float32, bfloat16 or float16.
    group_sizes: [G] over the rows of one matrix: blocks start anew at each group's first row, and scales are per_group. Their array
        has room for the worst sizes; rows behind those that the sizes need are 1.
    """
    return _copies("quantize", x, (block,), format, scaling, scale_format, *_all_groups("quantize", group_sizes))[0]


def quantize_both(x: Any, row_block: Block = (1, 128), col_block: Block = (128, 1), format: Any = "e4m3", scaling: str = "absmax",
                  scale_format: Any = "f32", group_sizes: Any = None) -> tuple[ScaledArray, ScaledArray]:  # fmt: skip
    """Two quantised copies from one read of x: for the forward product and for the weight gradient."""
    blocks = (row_block, col_block)
    rows, cols = _copies("quantize_both", x, blocks, format, scaling, scale_format, *_all_groups("quantize_both", group_sizes))
    return rows, cols


def quantize_local(x: Any, blocks: tuple[Block, ...], format: Any, scaling: str, scale_format: Any, groups: CallGroups) -> list[ScaledArray]:
    """One copy or two over the local groups alone."""
    return _copies("quantize" if len(blocks) == 1 else "quantize_both", x, blocks, format, scaling, scale_format, groups, LOCAL)
