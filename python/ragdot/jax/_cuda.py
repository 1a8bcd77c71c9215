"""ragged_dot on CUDA devices: the arrays that its handlers take, and their workspace, sized while tracing. It has never run on a GPU.

The handlers want FP8 along the axis that a product sums, so these arrays are `turned`: stored with their last two axes exchanged. Group
sizes are not looked at: handlers take the starts and the sizes of the local groups, [2, L], as they lie on the device.
"""

import ctypes
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ragdot import _abi, _cuda_abi
from ragdot._arrays import DTYPES, VALUES, dense_view, dtype_of
from ragdot._library import LIBRARY, check
from ragdot._recipes import Recipe
from ragdot._scaled import Block, ScaledArray, block_of
from ragdot.jax._handlers import call, whole
from ragdot.jax._operands import LOCAL, ORIGINS, CallGroups, Split, fill, split
from ragdot.jax._quantize import extents

_INDEX = {np.dtype(np.int32): _abi.INDEX_I32, np.dtype(np.int64): _abi.INDEX_I64}
_NO_GROUPS = np.zeros(0, np.int32)


def local_groups(groups: CallGroups) -> jax.Array:
    """Starts and sizes of the local groups, [2, L]."""
    sizes, offset = whole(groups.sizes), whole(groups.offset)
    starts = jnp.cumsum(sizes, dtype=sizes.dtype) - sizes
    return jax.lax.dynamic_slice_in_dim(jnp.stack([starts, sizes]), offset[0], groups.local, axis=1)


def _groups_struct(spans: Any) -> _abi.Groups:
    return _abi.Groups(_abi.GROUP_KINDS["starts_and_sizes"], _INDEX[np.dtype(spans.dtype)], None, None, spans.shape[1])


def _workspace(name: str, args: Any) -> jax.ShapeDtypeStruct:
    """The workspace of a call, whose shapes and formats this checks."""
    args.struct_size = ctypes.sizeof(args)
    options = _cuda_abi.Options(struct_size=ctypes.sizeof(_cuda_abi.Options))
    size = ctypes.c_size_t()
    check(getattr(LIBRARY, f"ragdot_cuda_{name}_workspace_bytes")(args, options, size))
    return jax.ShapeDtypeStruct((size.value,), jnp.uint8)


def _turn(view: _abi.View) -> None:
    """Makes the dense view one of the same matrix stored turned."""
    view.row_stride, view.col_stride = 1, view.rows


def _exchanged(x: Any) -> Any:
    return jnp.swapaxes(x, -1, -2)


def gmm(lhs: Any, rhs: Any, spans: Any, out_dtype: np.dtype, transpose_rhs: bool) -> jax.Array:
    """ragdot_cuda_gmm; with transpose_rhs values and scales of rhs are [L, N, K], as ragdot.jax.gmm has them."""
    lhs_of, rhs_of = split("gmm", "lhs", lhs, 2, "[rows, columns]"), split("gmm", "rhs", rhs, 3, "[groups, rows, columns]")
    args = _abi.GmmArgs(groups=_groups_struct(spans))
    fill(args.lhs, lhs_of)
    fill(args.rhs, rhs_of, transposed=transpose_rhs)
    out = jax.ShapeDtypeStruct((args.lhs.values.rows, args.rhs.values.cols), out_dtype)
    args.out = dense_view(out_dtype, out.shape)
    return call("cuda_gmm", (out, _workspace("gmm", args)), lhs_of.values, lhs_of.scales, rhs_of.values, rhs_of.scales, spans,
                lhs_grid=lhs_of.grid, rhs_grid=rhs_of.grid, transpose_rhs=int(transpose_rhs))[0]  # fmt: skip


def tgmm(lhs: Any, rhs: Any, spans: Any, out_dtype: np.dtype) -> jax.Array:
    """ragdot_cuda_tgmm of lhs [M, K] and rhs [M, N]; values with scales go to the handler turned."""
    operands: list[Split] = [split("tgmm", name, x, 2, "[rows, columns]") for name, x in (("lhs", lhs), ("rhs", rhs))]
    args = _abi.TgmmArgs(groups=_groups_struct(spans))
    for struct, x in zip((args.lhs, args.rhs), operands):
        fill(struct, x)
        if x.scaled:
            _turn(struct.values)
    out = jax.ShapeDtypeStruct((spans.shape[1], args.lhs.values.cols, args.rhs.values.cols), out_dtype)
    args.out = dense_view(out_dtype, out.shape)
    arrays = [array for x in operands for array in (_exchanged(x.values) if x.scaled else x.values, x.scales)]
    return call("cuda_tgmm", (out, _workspace("tgmm", args)), *arrays, spans, lhs_grid=operands[0].grid, rhs_grid=operands[1].grid,
                turned=int(operands[0].scaled))[0]  # fmt: skip


def quantize(x: Any, block: Block, recipe: Recipe, spans: Any = None, turned: bool = False) -> tuple[Any, Any]:
    """ragdot_cuda_quantize: values of x's shape, turned: with the last two axes exchanged, and scales for the worst group sizes."""
    block_rows, block_cols = block_of("quantize", block)
    formats = dtype_of("quantize: format", recipe.format, VALUES), DTYPES[recipe.scale_format]
    scales = jax.ShapeDtypeStruct(extents(x.shape, block_rows, block_cols, None if spans is None else spans.shape[1]), formats[1])
    out = _abi.QuantizedOut(dense_view(formats[0], x.shape), _abi.ScalesOut(dense_view(formats[1], scales.shape), block_rows, block_cols),
                            _abi.RECIPES[recipe.scaling])  # fmt: skip
    if turned:
        _turn(out.values)
    args = _abi.QuantizeArgs(input=dense_view(x.dtype, x.shape), out=out)
    if spans is not None:
        args.groups = ctypes.pointer(_groups_struct(spans))
    *batch, rows, cols = x.shape
    values = jax.ShapeDtypeStruct((*batch, cols, rows) if turned else x.shape, formats[0])
    results = call("cuda_quantize", (values, scales, _workspace("quantize", args)), x, _NO_GROUPS if spans is None else spans,
                   grid=(block_rows, block_cols, ORIGINS["global" if spans is None else LOCAL]), recipe=out.recipe, turned=int(turned))  # fmt: skip
    return results[0], results[1]


def _plain(recipe: Recipe, x: Any) -> Any:
    return x.astype(jnp.bfloat16) if recipe.format == "bf16" else x


def _rows(recipe: Recipe, x: Any) -> Any:
    """Tokens for a product that sums along their rows. Each row has scales of its own, so that groups make no difference."""
    return ScaledArray(*quantize(x, recipe.rows, recipe), recipe.rows, "global") if recipe.quantizes else _plain(recipe, x)


def _columns(recipe: Recipe, x: Any, spans: Any) -> Any:
    """Tokens for the product that sums over the rows of each group."""
    if not recipe.quantizes:
        return _plain(recipe, x)
    values, scales = quantize(x, recipe.columns, recipe, spans, turned=True)
    return ScaledArray(_exchanged(values), scales, recipe.columns, LOCAL)


def _turned_weights(recipe: Recipe, w: Any) -> Any:
    """Weights for a product that sums along K, [L, N, K]."""
    values, scales = quantize(w, recipe.weights, recipe, turned=True)
    return ScaledArray(values, _exchanged(scales), recipe.weights[::-1], "global")


def _weights(recipe: Recipe, w: Any) -> Any:
    """Weights as they lie, for a product that sums along N."""
    return ScaledArray(*quantize(w, recipe.weights, recipe), recipe.weights, "global") if recipe.quantizes else _plain(recipe, w)


def result(recipe: Recipe, out_dtype: np.dtype, lhs: Any, rhs: Any, sizes: Any, offset: Any) -> Any:
    """ragged_dot."""
    spans = local_groups(CallGroups(sizes, offset, rhs.shape[0]))
    weights = _turned_weights(recipe, rhs) if recipe.quantizes else _plain(recipe, rhs)
    return gmm(_rows(recipe, lhs), weights, spans, out_dtype, recipe.quantizes)


def forward(recipe: Recipe, out_dtype: np.dtype, lhs: Any, rhs: Any, sizes: Any, offset: Any) -> tuple[Any, Any, Any]:
    """ragged_dot, and the quantised copies that are kept of lhs and of rhs; None where there is none."""
    out = result(recipe, out_dtype, lhs, rhs, sizes, offset)
    if not recipe.quantizes:
        return out, None, None
    return out, _columns(recipe, lhs, local_groups(CallGroups(sizes, offset, rhs.shape[0]))), _weights(recipe, rhs)


def backward(recipe: Recipe, lhs_dtype: np.dtype, rhs_dtype: np.dtype, columns: Any, kept: Any, sizes: Any, offset: Any,
             grad: Any) -> tuple[Any, Any]:  # fmt: skip
    """Gradients of lhs and of rhs."""
    spans = local_groups(CallGroups(sizes, offset, kept.shape[0]))
    incoming = recipe.for_gradients()
    dlhs = gmm(_rows(incoming, grad), kept, spans, lhs_dtype, transpose_rhs=True)
    return dlhs, tgmm(columns, _columns(incoming, grad, spans), spans, rhs_dtype)
