"""What handlers take: ScaledArrays as pytrees, operands as values, scales and grid, groups as sizes and offset."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from ragdot import _abi
from ragdot._arrays import DTYPES, FORMATS, OPERANDS, VALUES, dense_view, listed
from ragdot._choices import number_of
from ragdot._scaled import ScaledArray, block_of

Grid = tuple[int, int, int]

# As the handlers count origins. The last: per_group scales of the local groups alone, which ragged_dot makes for itself.
LOCAL = "per_local_group"
ORIGINS = _abi.ORIGINS | {LOCAL: 2}


def _leaves(x: ScaledArray) -> tuple[Any, Any]:
    return (x.values, x.scales), (x.block, x.origin)


def _with_keys(x: ScaledArray) -> tuple[Any, Any]:
    leaves, static = _leaves(x)
    return tuple(zip(_KEYS, leaves)), static


def _of_leaves(static: Any, leaves: Iterable[Any]) -> ScaledArray:
    return ScaledArray(*leaves, *static)


_KEYS = tuple(map(jax.tree_util.GetAttrKey, ("values", "scales")))
# Every call of a jitted function flattens its arguments, without keys.
jax.tree_util.register_pytree_with_keys(ScaledArray, _with_keys, _of_leaves, _leaves)


def _static_of(data: bytes) -> Any:
    block, origin = json.loads(data)
    return tuple(block), origin


jax.export.register_pytree_node_serialization(
    ScaledArray, serialized_name="ragdot.ScaledArray", serialize_auxdata=lambda static: json.dumps(static).encode(),
    deserialize_auxdata=_static_of)  # fmt: skip


@dataclass(frozen=True)
class CallGroups:
    """sizes [G] and the offset [1] of the first of `local` groups."""

    sizes: Any
    offset: Any
    local: int


def check_fixed(op: str, name: str, x: jax.Array) -> None:
    """Refuses symbolic dimensions (jax.export): calls are planned while tracing."""
    if not all(isinstance(extent, int) for extent in x.shape):
        raise NotImplementedError(f"{op}: {name} has shape {list(x.shape)}; symbolic dimensions are not offered, export one program for each size")


# Made in a program, also where nothing around it is: outside of one, zeros would be a transfer to the device.
@partial(jax.jit, static_argnums=(0, 1), inline=True)
def zeros(count: int, dtype: Any) -> jax.Array:
    """What stands for an operand that a call lacks."""
    return jnp.zeros(count, dtype)


def _is_concrete(x: Any) -> bool:
    """Whether x is numpy's, or numbers in lists, whose high bits jax would drop without a word."""
    return not any(isinstance(leaf, jax.Array) or hasattr(leaf, "__jax_array__") for leaf in jax.tree.leaves(x))


def _indices(op: str, name: str, x: Any) -> Any:
    """Integers of any type as int32, or as int64 where jax has that; numbers that int32 lacks stay too large. Others as they are."""
    given = x
    if _is_concrete(x):
        x = np.asarray(x, None if np.size(x) else np.int32)
        if x.dtype.kind in "OUS":
            if x.size and all(isinstance(element, int) for element in x.flat):
                raise ValueError(f"{op}: {name} holds numbers that no integer of 64 bits holds; give smaller ones")
            raise ValueError(f"{op}: {name} is {given!r}; give integers")
        if x.dtype.kind in "iu" and x.dtype != np.int32:
            held = np.iinfo(np.int64 if jax.config.jax_enable_x64 and x.dtype.itemsize >= 4 else np.int32)  # type: ignore[attr-defined]
            if x.size and not (held.min <= x.min() and x.max() <= held.max):
                raise ValueError(f"{op}: {name} holds numbers from {x.min()} to {x.max()}; jax keeps {held.dtype} here, so set jax_enable_x64 or "
                                 "give smaller ones")  # fmt: skip
            x = x.astype(held.dtype)
        return jnp.asarray(x)
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.integer) or x.dtype in (np.int32, np.int64):
        return x
    if x.dtype.itemsize < 4 or (x.dtype == np.uint32 and jax.config.jax_enable_x64):  # type: ignore[attr-defined]
        return x.astype(jnp.int32 if x.dtype.itemsize < 4 else jnp.int64)
    signed = np.iinfo(f"int{8 * x.dtype.itemsize}")
    return jnp.minimum(x, signed.max).astype(signed.dtype)


def groups_of(op: str, group_sizes: Any, group_offset: Any, local: int | None) -> CallGroups:
    """Checked groups; local None: all that group_sizes has."""
    sizes = _indices(op, "group_sizes", group_sizes)
    if sizes.ndim != 1 or sizes.dtype not in (np.int32, np.int64):
        raise ValueError(f"{op}: group_sizes is {sizes.dtype}{list(sizes.shape)}; it must be integers [groups]")
    check_fixed(op, "group_sizes", sizes)
    local = sizes.shape[0] if local is None else local
    if group_offset is None:
        if sizes.shape[0] != local:
            counts = f"{local} local groups and {sizes.shape[0]} group sizes"
            raise ValueError(f"{op}: {counts}; they must be equal, or give group_offset, the first local group")
        return CallGroups(sizes, zeros(1, jnp.int32), local)
    if local > sizes.shape[0]:
        raise ValueError(f"{op}: {local} local groups and {sizes.shape[0]} group sizes; there must be a size for each group")
    offset = _indices(op, "group_offset", group_offset)
    if offset.size != 1 or offset.dtype not in (np.int32, np.int64):
        raise ValueError(f"{op}: group_offset is {offset.dtype}{list(offset.shape)}; it must be one integer")
    if offset.dtype == np.int64:
        offset = jnp.clip(offset, -1, np.iinfo(np.int32).max).astype(jnp.int32)
    return CallGroups(sizes, offset.reshape(1), local)


@dataclass(frozen=True)
class Split:
    """An operand as handlers take it; without scales these are empty."""

    values: Any
    scales: Any
    grid: Grid
    scaled: bool

    @property
    def covers_local(self) -> bool:
        """Whether the scales are those of the local groups alone."""
        return self.grid[2] == ORIGINS[LOCAL]


def split(op: str, name: str, x: Any, ndim: int, shape: str) -> Split:
    """Values, scales and grid of an array or a ScaledArray."""
    scaled = isinstance(x, ScaledArray)
    values = jnp.asarray(x.values if scaled else x)
    if values.ndim != ndim:
        raise ValueError(f"{op}: {name} has shape {list(values.shape)}; it must be {shape}")
    check_fixed(op, name, values)
    if values.dtype not in FORMATS:
        raise ValueError(f"{op}: {name} is {values.dtype}; give {listed(VALUES if scaled else OPERANDS)}")
    if not scaled:
        return Split(values, zeros(0, jnp.float32), (1, 1, 0), False)
    scales = jnp.asarray(x.scales)
    check_fixed(op, f"{name} scales", scales)
    if scales.ndim != ndim or scales.dtype not in FORMATS:
        raise ValueError(f"{op}: {name} scales are {scales.dtype}{list(scales.shape)}; they must be float32, bfloat16 or float8_e8m0fnu {shape}")
    return Split(values, scales, (*block_of(f"{op}: {name}", x.block), number_of(op, f"origin of {name}", x.origin, ORIGINS)), True)


def fill(operand: _abi.Operand, x: Split, transposed: bool = False) -> None:
    """Writes the C struct of shapes and formats alone."""
    operand.values = dense_view(x.values.dtype, x.values.shape)
    if x.scaled:
        rows, cols, origin = x.grid
        operand.scales = _abi.Scales(dense_view(x.scales.dtype, x.scales.shape), rows, cols, int(origin != ORIGINS["global"]))
    if transposed:
        for view in (operand.values, operand.scales.view):
            view.rows, view.cols, view.row_stride, view.col_stride = view.cols, view.rows, view.col_stride, view.row_stride
        scales = operand.scales
        scales.block_rows, scales.block_cols = scales.block_cols, scales.block_rows


def is_full(dtype: np.dtype) -> bool:
    """Whether products of the format have float32 results unless they are asked for others."""
    return dtype == DTYPES["f32"]
