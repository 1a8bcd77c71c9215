"""gmm and tgmm on arrays and ScaledArrays: shapes are checked while tracing, by the library's own plan."""

import ctypes
import os
from typing import Any

import jax
import jax.numpy as jnp

from ragdot import _abi
from ragdot._arrays import DTYPES, FLOATS, dense_view, dtype_of
from ragdot._calls import count_of
from ragdot._choices import integer_of, number_of
from ragdot._library import LIBRARY, check
from ragdot.jax._handlers import call
from ragdot.jax._operands import CallGroups, check_fixed, fill, groups_of, is_full, split, zeros


def _workspace(args: _abi.GmmArgs | _abi.TgmmArgs, groups: CallGroups, local_scales: bool, threads: int | None) -> jax.ShapeDtypeStruct:
    """The workspace of a call, whose shapes and formats this checks."""
    args.struct_size = ctypes.sizeof(args)
    args.groups.index, args.groups.count = _abi.INDEX_I64, groups.local if local_scales else groups.sizes.shape[0]
    op = "tgmm" if isinstance(args, _abi.TgmmArgs) else "gmm"
    threads = integer_of(op, "threads", threads or len(os.sched_getaffinity(0)), 32)
    options, plan = _abi.Options(struct_size=ctypes.sizeof(_abi.Options), threads=threads), ctypes.c_void_p()
    check(getattr(LIBRARY, f"ragdot_plan_{op}")(args, options, plan))
    size = LIBRARY.ragdot_plan_workspace_bytes(plan)
    LIBRARY.ragdot_plan_free(plan)
    return jax.ShapeDtypeStruct((size,), jnp.uint8)


def gmm(lhs: Any, rhs: Any, group_sizes: Any, *, bias: Any = None, activation: str | None = None, out_dtype: Any = None,
        transpose_rhs: bool = False, group_offset: Any = None, threads: int | None = None) -> jax.Array:  # fmt: skip
    """Grouped matmul: out[m] = activation(lhs[m] @ rhs[g(m) - group_offset] + bias[g(m) - group_offset]).

    lhs: [M, K] rows sorted by group; an array (bfloat16, float8_e4m3fn, float8_e5m2, float32, int8) or a ScaledArray.
    rhs: [L, K, N], or with transpose_rhs [L, N, K], scales of a ScaledArray likewise; L local groups. Pairs of formats: any two of
        bfloat16 and FP8; float32 with float32; int8 with int8.
    group_sizes: [G] integer rows of each group. group_offset: an integer, the first local group, which may be traced; None: 0,
        and all groups are local. Rows that belong to no local group become zero.
    bias: [L, N] float32. activation: "relu", "tanh", "silu", "gelu_tanh" or "gelu_erf".
    out_dtype: None is bfloat16, or float32 for float32 operands.
    threads: None is as many of XLA's as the machine has cores. It never changes a bit.

    per_group scales of lhs have a row for each block of all G groups; rows behind those that the sizes need are not read.
    Returns [M, N]. Shapes and formats are checked while tracing (ValueError, NotImplementedError), group sizes when it runs. It has no
    gradient: ragged_dot has.
    """
    lhs_of, rhs_of = split("gmm", "lhs", lhs, 2, "[rows, columns]"), split("gmm", "rhs", rhs, 3, "[groups, rows, columns]")
    groups = groups_of("gmm", group_sizes, group_offset, rhs_of.values.shape[0])
    args = _abi.GmmArgs()
    fill(args.lhs, lhs_of)
    fill(args.rhs, rhs_of, transposed=transpose_rhs)
    otherwise = DTYPES["f32" if is_full(lhs_of.values.dtype) else "bf16"]
    dtype = otherwise if out_dtype is None else dtype_of("gmm: out_dtype", out_dtype, FLOATS)
    out = jax.ShapeDtypeStruct((lhs_of.values.shape[0], args.rhs.values.cols), dtype)
    args.out = dense_view(dtype, out.shape)
    if bias is None:
        bias = zeros(0, jnp.float32)
    else:
        bias = jnp.asarray(bias)
        if bias.ndim != 2 or bias.dtype != jnp.float32:
            raise ValueError(f"gmm: bias is {bias.dtype}{list(bias.shape)}; it must be float32 [groups, columns]")
        check_fixed("gmm", "bias", bias)
        args.bias = dense_view(DTYPES["f32"], bias.shape)
    args.activation = number_of("gmm", "activation", activation or "none", _abi.ACTIVATIONS)
    workspace = _workspace(args, groups, lhs_of.covers_local or rhs_of.covers_local, threads)
    return call("gmm", (out, workspace), lhs_of.values, lhs_of.scales, rhs_of.values, rhs_of.scales, groups.sizes, groups.offset, bias,
                lhs_grid=lhs_of.grid, rhs_grid=rhs_of.grid, threads=threads or 0, transpose_rhs=int(transpose_rhs),
                activation=args.activation)[0]  # fmt: skip


def tgmm(lhs: Any, rhs: Any, group_sizes: Any, *, out_dtype: Any = None, group_offset: Any = None, num_groups: int | None = None,
         threads: int | None = None) -> jax.Array:  # fmt: skip
    """Gradient of gmm with respect to rhs: out[g - group_offset] = the sum over rows m of group g of outer(lhs[m], rhs[m]).

    lhs: [M, K]; rhs: [M, N]; arrays or ScaledArrays on any grid, such as the column-wise copies of quantize_both.
    num_groups: L, the local groups from group_offset on; None: all. An empty group's matrix is zero.
    out_dtype: None is float32.

    Returns [L, K, N]. The rest is as in gmm.
    """
    lhs_of, rhs_of = (split("tgmm", name, x, 2, "[rows, columns]") for name, x in (("lhs", lhs), ("rhs", rhs)))
    local = None if num_groups is None else count_of("tgmm", num_groups)
    groups = groups_of("tgmm", group_sizes, group_offset, local)
    args = _abi.TgmmArgs()
    fill(args.lhs, lhs_of)
    fill(args.rhs, rhs_of)
    dtype = DTYPES["f32"] if out_dtype is None else dtype_of("tgmm: out_dtype", out_dtype, FLOATS)
    out = jax.ShapeDtypeStruct((groups.local, lhs_of.values.shape[1], rhs_of.values.shape[1]), dtype)
    args.out = dense_view(dtype, out.shape)
    workspace = _workspace(args, groups, lhs_of.covers_local or rhs_of.covers_local, threads)
    return call("tgmm", (out, workspace), lhs_of.values, lhs_of.scales, rhs_of.values, rhs_of.scales, groups.sizes, groups.offset,
                lhs_grid=lhs_of.grid, rhs_grid=rhs_of.grid, threads=threads or 0)[0]  # fmt: skip
