"""ragged_dot: jax.lax.ragged_dot's arguments, FP8 inside, gradients by two more grouped products."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import SymbolicZero

from ragdot._arrays import DTYPES
from ragdot._recipes import AS_IT_COMES, Recipe, recipe_of
from ragdot._scaled import ScaledArray
from ragdot.jax import _cuda
from ragdot.jax._handlers import Placement, as_bytes, of_bytes
from ragdot.jax._operands import CallGroups, groups_of
from ragdot.jax._platforms import by_platform
from ragdot.jax._products import gmm, tgmm
from ragdot.jax._quantize import quantize, quantize_local

_OP = "ragged_dot"
_FLOATS = (jnp.bfloat16, jnp.float32, jnp.float16)
# What a policy of jax.checkpoint may save: the quantised copies that are kept for the way back.
CHECKPOINT_NAME = "ragdot_quantized"


def _plain(recipe: Recipe, x: Any) -> Any:
    return x.astype(jnp.bfloat16) if recipe.format == "bf16" else x


def _words(recipe: Recipe) -> tuple[str | None, str, str]:
    return recipe.format, recipe.scaling, recipe.scale_format


def _rows(recipe: Recipe, x: Any, groups: CallGroups) -> Any:
    """Rows of tokens for a product that sums along them."""
    return quantize_local(x, (recipe.rows,), *_words(recipe), groups)[0] if recipe.quantizes else _plain(recipe, x)


def _rows_and_columns(recipe: Recipe, x: Any, groups: CallGroups) -> tuple[Any, Any]:
    """The same, and a copy for the product that sums over the rows of each group."""
    if recipe.quantizes:
        rows, columns = quantize_local(x, (recipe.rows, recipe.columns), *_words(recipe), groups)
        return rows, columns
    plain = _plain(recipe, x)
    return plain, plain


def _weights(recipe: Recipe, w: Any, turned: bool) -> Any:
    """Weights for a product that sums along K, or turned along N."""
    return quantize(w, recipe.turned_weights if turned else recipe.weights, *_words(recipe)) if recipe.quantizes else _plain(recipe, w)


def _result_cpu(recipe: Recipe, out_dtype: np.dtype, lhs: Any, rhs: Any, sizes: Any, offset: Any) -> Any:
    groups = CallGroups(sizes, offset, rhs.shape[0])
    return _product(_rows(recipe, lhs, groups), _weights(recipe, rhs, turned=False), groups, out_dtype)


def _product(lhs: Any, rhs: Any, groups: CallGroups, out_dtype: np.dtype, transpose_rhs: bool = False) -> Any:
    return gmm(lhs, rhs, groups.sizes, out_dtype=out_dtype, transpose_rhs=transpose_rhs, group_offset=groups.offset)


def _forward_cpu(recipe: Recipe, out_dtype: np.dtype, lhs: Any, rhs: Any, sizes: Any, offset: Any) -> tuple[Any, Any, Any]:
    """The result, and the quantised copies that are kept of lhs and of rhs; None where there is none."""
    groups = CallGroups(sizes, offset, rhs.shape[0])
    rows, columns = _rows_and_columns(recipe, lhs, groups)
    weights = _weights(recipe, rhs, turned=False)
    out = _product(rows, weights, groups, out_dtype)
    if not recipe.quantizes:
        return out, None, None
    return out, columns, weights if recipe.one_copy else None


def _backward_cpu(recipe: Recipe, lhs_dtype: np.dtype, rhs_dtype: np.dtype, columns: Any, kept: Any, sizes: Any, offset: Any,
                  grad: Any) -> tuple[Any, Any]:  # fmt: skip
    groups = CallGroups(sizes, offset, kept.shape[0])
    grad_rows, grad_columns = _rows_and_columns(recipe.for_gradients(), grad, groups)
    weights = kept if recipe.one_copy else _weights(recipe, kept, turned=True)
    dlhs = _product(grad_rows, weights, groups, lhs_dtype, transpose_rhs=True)
    return dlhs, tgmm(columns, grad_columns, sizes, out_dtype=rhs_dtype, group_offset=offset, num_groups=groups.local)


def _kept(x: ScaledArray) -> ScaledArray:
    """A quantised copy as it waits for the way back."""
    return checkpoint_name(jax.tree.map(as_bytes, x), CHECKPOINT_NAME)


def _taken(recipe: Recipe, x: Any) -> Any:
    """The copy of this recipe that _kept was given; an operand as the recipe multiplies it, or has yet to quantise it."""
    if not isinstance(x, ScaledArray):
        return _plain(recipe, x)
    values, scales = of_bytes(x.values, DTYPES[recipe.format]), of_bytes(x.scales, DTYPES[recipe.scale_format])  # type: ignore[index]  # it quantises
    return ScaledArray(values, scales, x.block, x.origin)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _once(cpu: Any, cuda: Any, choices: tuple[Any, ...], *operands: Any) -> Any:
    """by_platform, for what differentiation makes of ragged_dot."""
    return by_platform(cpu, cuda, choices, *operands)


@_once.defjvp
def _twice(*_: Any) -> Any:
    raise NotImplementedError(f"{_OP} has no second derivative; use jax.lax.ragged_dot where one is needed, or put "
                              "jax.lax.stop_gradient around what the gradient is taken by where none is")  # fmt: skip


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _ragged_dot(recipe: Recipe, out_dtype: np.dtype, lhs: Any, rhs: Any, sizes: Any, offset: Any) -> Any:
    return by_platform(_result_cpu, _cuda.result, (recipe, out_dtype), lhs, rhs, sizes, offset)


def _forward(recipe: Recipe, out_dtype: np.dtype, lhs: Any, rhs: Any, sizes: Any, offset: Any) -> tuple[Any, Any]:
    out, columns, weights = _once(_forward_cpu, _cuda.forward, (recipe, out_dtype), lhs, rhs, sizes, offset)
    # What is no copy is kept as the operand that it is: what came out of the call would be another array to JAX.
    columns = _plain(recipe, lhs) if columns is None else _kept(columns)
    weights = rhs if weights is None else _kept(weights)
    return out, (columns, weights, sizes, offset, Placement.of(lhs), Placement.of(rhs))


def _backward(recipe: Recipe, out_dtype: np.dtype, residuals: Any, grad: Any) -> tuple[Any, Any, None, None]:
    columns, kept, sizes, offset, lhs, rhs = residuals
    columns, kept = _taken(recipe, columns), _taken(recipe, kept)
    # Operands that stay as they come meet the gradient in their type.
    grad = grad.astype(lhs.dtype) if recipe.format is None else grad
    dlhs, drhs = _once(_backward_cpu, _cuda.backward, (recipe, lhs.dtype, rhs.dtype), columns, kept, sizes, offset, grad)
    return lhs.gradient(dlhs), rhs.gradient(drhs), None, None


_ragged_dot.defvjp(_forward, _backward)


def _frozen_cpu(recipe: Recipe, out_dtype: np.dtype, transpose_rhs: bool, rows: Any, rhs: ScaledArray, sizes: Any, offset: Any) -> Any:
    groups = CallGroups(sizes, offset, rhs.values.shape[0])
    return _product(_rows(recipe, rows, groups), rhs, groups, out_dtype, transpose_rhs)


def _frozen_cuda(*_: Any) -> Any:
    raise NotImplementedError(f"{_OP}: rhs is a ScaledArray, which is not offered on CUDA devices; give bfloat16 or float32")


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _frozen(recipe: Recipe, out_dtype: np.dtype, lhs: Any, rhs: ScaledArray, sizes: Any, offset: Any) -> Any:
    """ragged_dot of weights that are quantised and have no gradient."""
    return _once(_frozen_cpu, _frozen_cuda, (recipe, out_dtype, False), lhs, rhs, sizes, offset)


def _frozen_forward(recipe: Recipe, out_dtype: np.dtype, *operands: Any) -> tuple[Any, Any]:
    """operands: each leaf with whether it is differentiated by."""
    if any(leaf.perturbed for leaf in jax.tree.leaves(operands[1])):
        raise NotImplementedError(f"{_OP}: rhs is a ScaledArray, which has no gradient; put jax.lax.stop_gradient around it, or give the "
                                  "weights that it was quantised from and a recipe")  # fmt: skip
    lhs, rhs, sizes, offset = jax.tree.map(lambda leaf: leaf.value, operands)
    return _frozen(recipe, out_dtype, lhs, rhs, sizes, offset), (rhs, sizes, offset, Placement.of(lhs))


def _frozen_backward(recipe: Recipe, out_dtype: np.dtype, residuals: Any, grad: Any) -> tuple[Any, None, None, None]:
    rhs, sizes, offset, lhs = residuals
    grad = jnp.zeros(grad.shape, grad.dtype) if isinstance(grad, SymbolicZero) else grad
    dlhs = _once(_frozen_cpu, _frozen_cuda, (recipe.for_gradients(), lhs.dtype, True), grad, rhs, sizes, offset)
    return lhs.gradient(dlhs), None, None, None


_frozen.defvjp(_frozen_forward, _frozen_backward, symbolic_zeros=True)


# jax's names of precisions and of dot algorithms, and whether float32 operands stay as they are.
_KEEPS_FLOAT32 = {
    **dict.fromkeys(("DEFAULT", "FASTEST", "BFLOAT16", "BF16_BF16_F32"), False),
    **dict.fromkeys(("HIGH", "HIGHEST", "TENSORFLOAT32", "FLOAT32", "BFLOAT16_3X", "F32_F32_F32", "TF32_TF32_F32",
                     "TF32_TF32_F32_X3", "BF16_BF16_F32_X3", "BF16_BF16_F32_X6", "BF16_BF16_F32_X9"), True),
}  # fmt: skip


def _keeps_float32(precision: Any) -> bool:
    name = str(getattr(precision, "name", precision)).upper()
    if name not in _KEEPS_FLOAT32:
        raise ValueError(f"{_OP}: precision is {precision!r}; give one of {', '.join(_KEEPS_FLOAT32)}")
    return _KEEPS_FLOAT32[name]


def _with_precision(recipe: Recipe, precision: Any) -> Recipe:
    """High precisions keep float32 operands as they are, which no quantising recipe does. Of the context: recipes may come before it."""
    pair = isinstance(precision, tuple) and not hasattr(precision, "_fields")  # which jax.lax.DotAlgorithm has
    asked = [p for p in (precision if pair else (precision,)) if p is not None]
    if not asked and recipe.format == "bf16":
        asked = [jax.config.jax_default_matmul_precision or "default"]  # type: ignore[attr-defined]
    if not any([_keeps_float32(p) for p in asked]):
        return recipe
    if recipe.quantizes:
        raise ValueError(f"{_OP}: precision is {precision} and the recipe quantises to {recipe.format}; leave one of them out")
    return AS_IT_COMES


def ragged_dot(lhs: Any, rhs: Any, group_sizes: Any, precision: Any = None, preferred_element_type: Any = None, group_offset: Any = None,
               *, recipe: str | Recipe = "bf16") -> jax.Array:  # fmt: skip
    """jax.lax.ragged_dot in FP8: out[m] = lhs[m] @ rhs[g(m) - group_offset], with gradients.

    lhs: [M, K], rows sorted by group; rhs: [L, K, N], one matrix for each local group; bfloat16, float32 or float16. rhs may be a
        ScaledArray instead, quantised weights that stay as they are: no recipe touches it, and it has no gradient.
    group_sizes: [G] integer rows of each group, of any size. Rows that belong to no local group become zero and get zero
        gradients; a group without rows gets a gradient of exact zeros.
    precision: DEFAULT is the recipe's; with recipe "bf16" None is that of jax.default_matmul_precision, and HIGH, HIGHEST and dot
        algorithms on more than bfloat16 multiply operands as they are, those of float16 and of two types as float32; backward the
        gradient of the result is rounded to the type that they are multiplied in.
    preferred_element_type: that of the result; None is that of lhs and rhs, float32 where they differ,
        that of lhs with a ScaledArray.
    group_offset: an integer (a scalar or [1], which may be traced): the first local group; None: 0, and L is G.
    recipe: how operands are quantised inside, forward and backward: "bf16" (not at all: both are rounded to bfloat16), "channelwise",
        "blockwise", "blockwise_e8m0", "mx", or a Recipe.

    Forward lhs is quantised along K with rhs on its grid. The gradient of lhs quantises that of the result along N; the gradient of
    rhs takes both quantised along the rows of each group. In shard_map each device multiplies what it has, and the gradient of an
    operand that is the same on several devices is summed over them. There is no second derivative.

    Returns [M, N]. Raises ValueError and NotImplementedError for shapes and types while tracing; group sizes or an offset that break
    a rule are an error of the run (JaxRuntimeError, or ValueError where jax runs a compiled program within the call), with a sentence
    that says what to change.
    """
    frozen = isinstance(rhs, ScaledArray)
    if isinstance(lhs, ScaledArray):
        raise ValueError(f"{_OP}: lhs is a ScaledArray; give bfloat16, float32 or float16, or use gmm, which takes quantised operands")
    lhs, values = jnp.asarray(lhs), jnp.asarray(rhs.values if frozen else rhs)
    for name, x, ndim, shape in (("lhs", lhs, 2, "[rows, columns]"), ("rhs", values, 3, "[groups, rows, columns]")):
        if x.ndim != ndim or not (frozen and x is values or x.dtype in _FLOATS):
            what = "or a ScaledArray " if name == "rhs" else ""
            raise ValueError(f"{_OP}: {name} is {x.dtype}{list(x.shape)}; it must be bfloat16, float32 or float16 {what}{shape}")
    groups = groups_of(_OP, group_sizes, group_offset, values.shape[0])
    chosen = _with_precision(recipe_of(_OP, recipe), precision)
    common = lhs.dtype if frozen or lhs.dtype == values.dtype else jnp.dtype(jnp.float32)
    try:
        out_dtype = jnp.dtype(preferred_element_type or common)
    except TypeError:
        out_dtype = preferred_element_type
    if out_dtype not in _FLOATS:
        raise ValueError(f"{_OP}: preferred_element_type is {out_dtype}; it must be bfloat16, float32 or float16")
    if frozen:
        rhs = ScaledArray(values, jnp.asarray(rhs.scales), rhs.block, rhs.origin)
        return _frozen(chosen, out_dtype, lhs, rhs, groups.sizes, groups.offset)
    if chosen.format is None:
        kept = jnp.float32 if common == jnp.float16 else common  # no product takes float16
        lhs, values = lhs.astype(kept), values.astype(kept)
    return _ragged_dot(chosen, out_dtype, lhs, values, groups.sizes, groups.offset)
