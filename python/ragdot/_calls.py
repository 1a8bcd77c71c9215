"""The arguments of products: from Python's objects to the C structs, with the arrays that these point to."""

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from ragdot import _abi
from ragdot._arrays import DTYPES, FLOATS, dense_view, dtype_of, new_array, to_read, to_write, view_of
from ragdot._choices import integer_of, number_of
from ragdot._groups import Groups, as_groups
from ragdot._packing import PackedWeights
from ragdot._scaled import fill_operand, transposed

_ROWS = "[rows, columns]"
_WEIGHTS = "[groups, rows, columns]"


@dataclass
class Call:
    """A filled struct. `out` is None where only its shape was wanted; `held` are the arrays that the struct points to besides it."""

    args: _abi.GmmArgs | _abi.TgmmArgs
    out: Any
    held: list[Any]


@dataclass(frozen=True)
class Output:
    """What the caller said about the result. `wanted` is false where only its shape counts."""

    dtype: Any = None
    array: np.ndarray | None = None
    accumulate: bool = False
    wanted: bool = True

    def place(self, op: str, shape: tuple[int, ...], otherwise: np.dtype) -> tuple[Any, _abi.View]:
        """The array for a result of this shape, the caller's or a new one, and its view."""
        if self.array is not None:
            out = to_write(f"{op}: out", self.array, len(shape), f"{list(shape)}")
            if self.dtype is not None and dtype_of(f"{op}: out_dtype", self.dtype, FLOATS) != out.dtype:
                raise ValueError(f"{op}: out is {out.dtype} and out_dtype asks for {self.dtype}; leave one of them out")
            return out, view_of(out)
        dtype = otherwise if self.dtype is None else dtype_of(f"{op}: out_dtype", self.dtype, FLOATS)
        if not self.wanted:
            return None, dense_view(dtype, shape)
        if self.accumulate:
            raise ValueError(f"{op}: accumulate needs out; give the float32 array to add to")
        out = new_array(shape, dtype)
        return out, view_of(out)


def _first_group(op: str, first_group: int | None, groups: Groups, local: int) -> int:
    """Without one every group has a matrix: one too few or too many is no part of a larger whole but a mistake."""
    if first_group is not None:
        return integer_of(op, "first_group", first_group)
    if groups.count != local:
        raise ValueError(f"{op}: {groups.count} groups and {local} matrices; give as many, or say by first_group which groups are local")
    return 0


def gmm_call(op: str, lhs: Any, rhs: Any, groups: Any, output: Output, bias: Any, activation: str | None, first_group: int | None,
             rows_outside: str) -> Call:  # fmt: skip
    """gmm, and as op "dlhs" the same with rhs transposed."""
    args = _abi.GmmArgs(struct_size=ctypes.sizeof(_abi.GmmArgs))
    held: list[Any] = list(fill_operand(op, "lhs", lhs, 2, _ROWS, args.lhs))
    if isinstance(rhs, PackedWeights):
        rhs.check_op(op)
        args.packed_rhs, columns, local = rhs.pointer, rhs.columns, rhs.shape[0]
        held.append(rhs)
    else:
        held += fill_operand(op, "rhs", transposed(op, "rhs", rhs) if op == "dlhs" else rhs, 3, _WEIGHTS, args.rhs)
        columns, local = args.rhs.values.cols, args.rhs.values.batch
    held.append(as_groups(groups))
    held[-1].fill(args.groups)
    args.first_group = _first_group(op, first_group, held[-1], local)
    if bias is not None:
        held.append(to_read(f"{op}: bias", bias, 2, "[groups, columns]", ("f32",)))
        args.bias = view_of(held[-1])
    if activation is not None:
        args.activation = number_of(op, "activation", activation, _abi.ACTIVATIONS)
    args.rows_outside = number_of(op, "rows_outside", rows_outside, _abi.ROWS_OUTSIDE)
    if rows_outside == "leave" and output.wanted and output.array is None:
        raise ValueError(f"{op}: rows_outside leave needs out; give the array whose other rows are kept")
    full = output.accumulate or held[0].dtype == DTYPES["f32"]
    out, args.out = output.place(op, (held[0].shape[0], columns), DTYPES["f32" if full else "bf16"])
    args.out_mode = int(output.accumulate)
    return Call(args, out, held)


def count_of(op: str, num_groups: Any) -> int:
    """The local groups of tgmm."""
    count = integer_of(op, "num_groups", num_groups)
    if count < 0:
        raise ValueError(f"{op}: num_groups is {count}; it must be 0 or more")
    return count


def tgmm_call(op: str, lhs: Any, rhs: Any, groups: Any, output: Output, first_group: int | None, num_groups: int | None) -> Call:
    """tgmm."""
    args = _abi.TgmmArgs(struct_size=ctypes.sizeof(_abi.TgmmArgs))
    held: list[Any] = list(fill_operand(op, "lhs", lhs, 2, _ROWS, args.lhs))
    held += fill_operand(op, "rhs", rhs, 2, _ROWS, args.rhs)
    held.append(as_groups(groups))
    held[-1].fill(args.groups)
    before = 0 if first_group is None else integer_of(op, "first_group", first_group)
    local = max(held[-1].count - before, 0) if num_groups is None else count_of(op, num_groups)
    out, args.out = output.place(op, (local, args.lhs.values.cols, args.rhs.values.cols), DTYPES["f32"])
    if num_groups is not None and output.array is not None and len(out) != local:
        raise ValueError(f"{op}: num_groups is {num_groups} and out has {len(out)} matrices; leave num_groups out")
    args.first_group = _first_group(op, first_group, held[-1], args.out.batch)
    args.out_mode = int(output.accumulate)
    return Call(args, out, held)
