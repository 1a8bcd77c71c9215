"""gmm, dlhs and tgmm on arrays, and the exact result with its bound."""

from typing import Any, NamedTuple

import numpy as np

from ragdot._arrays import address
from ragdot._calls import Call, Output, gmm_call, tgmm_call
from ragdot._choices import Tiling, options_of
from ragdot._library import LIBRARY, check
from ragdot._packing import PackedWeights


def gmm(lhs: Any, rhs: Any, groups: Any, *, bias: Any = None, activation: str | None = None, out_dtype: Any = None,
        first_group: int | None = None, rows_outside: str = "zero", out: np.ndarray | None = None, accumulate: bool = False,
        tiling: Tiling | None = None, kernel: str | None = None, threads: int | None = None, strict: bool = False) -> np.ndarray:  # fmt: skip
    """Grouped matmul: out[m] = activation(lhs[m] @ rhs[g(m) - first_group] + bias[g(m) - first_group]).

    lhs: [M, K] rows sorted by group; an array (bfloat16, float8_e4m3fn, float8_e5m2, float32, int8) or a ScaledArray.
    rhs: [L, K, N] weights, or PackedWeights; L local groups, from first_group on. Any strides, so the view
        w.swapaxes(1, 2) of weights [L, N, K] costs nothing. Pairs of formats: any two of bfloat16 and FP8; float32 with
        float32; int8 with int8.
    groups: sizes [G] in rows (int32 or int64), or Groups. Without first_group L is G; with it rows of other groups are outside.
    bias: [L, N] float32. activation: "relu", "tanh", "silu", "gelu_tanh" or "gelu_erf".
    out_dtype: bfloat16, float16 or float32, also by the names "bf16", "f16", "f32". None: that of out; without out bfloat16,
        or float32 for float32 operands.
    rows_outside: rows that belong to no local group become "zero", or with out given "leave" leaves them as they are.
    out: [M, N] array to write into, any ascending strides; accumulate adds to it, in float32.
    tiling, kernel, threads: (rows, depth, columns) of a work item, a kernel's name, a number of threads. They never change a bit.
    strict: scales that are NaN, Inf, zero or negative are errors instead of spreading by IEEE rules.

    Returns out, [M, N]. Operands are read where they lie unless neither rows nor columns are contiguous. The GIL is released.
    Raises ValueError with a sentence that says what to change, NotImplementedError for a pair of formats or a kernel that is not
    offered here, MemoryError. A refused call has written nothing.
    """
    call = gmm_call("gmm", lhs, rhs, groups, Output(out_dtype, out, accumulate), bias, activation, first_group, rows_outside)
    check(LIBRARY.ragdot_gmm(call.args, options_of("gmm", tiling, kernel, threads, strict)))
    return call.out


def dlhs(grad: Any, rhs: Any, groups: Any, *, out_dtype: Any = None, first_group: int | None = None, rows_outside: str = "zero",
         out: np.ndarray | None = None, accumulate: bool = False, tiling: Tiling | None = None, kernel: str | None = None,
         threads: int | None = None, strict: bool = False) -> np.ndarray:  # fmt: skip
    """Gradient of gmm with respect to lhs: out[m] = grad[m] @ rhs[g(m) - first_group].T.

    grad: [M, N]; rhs: [L, K, N] as gmm takes it, its scales too, or weights packed with op="dlhs". The rest is as in gmm.
    Returns out, [M, K]. Sentences of the library speak of the gmm that this is, with lhs grad and rhs [L, N, K].
    """
    call = gmm_call("dlhs", grad, rhs, groups, Output(out_dtype, out, accumulate), None, None, first_group, rows_outside)
    check(LIBRARY.ragdot_gmm(call.args, options_of("dlhs", tiling, kernel, threads, strict)))
    return call.out


def tgmm(lhs: Any, rhs: Any, groups: Any, *, out_dtype: Any = None, first_group: int | None = None, num_groups: int | None = None,
         out: np.ndarray | None = None, accumulate: bool = False, tiling: Tiling | None = None, kernel: str | None = None,
         threads: int | None = None, strict: bool = False) -> np.ndarray:  # fmt: skip
    """Gradient of gmm with respect to rhs: out[g - first_group] = the sum over rows m of group g of outer(lhs[m], rhs[m]).

    lhs: [M, K]; rhs: [M, N]; arrays or ScaledArrays whose scales lie on any grid, such as the column-wise copy of quantize_both.
    num_groups: L, the local groups from first_group on; None: all that follow, or as many as out has.
    out_dtype: None is float32. out: [L, K, N]; an empty group's matrix becomes zero, with accumulate it is left alone.
    The rest is as in gmm. Returns out, [L, K, N].
    """
    call = tgmm_call("tgmm", lhs, rhs, groups, Output(out_dtype, out, accumulate), first_group, num_groups)
    check(LIBRARY.ragdot_tgmm(call.args, options_of("tgmm", tiling, kernel, threads, strict)))
    return call.out


class ExactAndBound(NamedTuple):
    """The exact result, a plain sum in float64, and what a float32 result of this library may differ by: |result - exact| <= bound."""

    exact: np.ndarray
    bound: np.ndarray


def error_bound(op: str, lhs: Any, rhs: Any, groups: Any, *, first_group: int | None = None, num_groups: int | None = None) -> ExactAndBound:
    """The exact result of op "gmm", "dlhs" or "tgmm" and its error bound, before bias, activation and rounding of the output.

    Arguments as in the products, but no packed weights; both results are float64 of their shape, 0 in rows outside the local groups.
    Slow: plain loops in float64. Holds as long as no partial sum or product of scales passes the largest float32. The bound is that of this
    library's order. For a kernel with another one, S = error_bound(op, |lhs|, |rhs|, groups).exact, values and scales without their signs,
    is what its roundings are counted in: docs/numerics.md, "Bounds of other kernels".
    """
    if isinstance(rhs, PackedWeights):
        raise ValueError("error_bound: rhs is packed; give the array or ScaledArray that was packed")
    call = call_of(op, lhs, rhs, groups, Output("f32", wanted=False), first_group=first_group, num_groups=num_groups)
    view = call.args.out
    shape = (view.batch, view.rows, view.cols) if op == "tgmm" else (view.rows, view.cols)
    exact, bound = np.empty(shape), np.empty(shape)
    function = LIBRARY.ragdot_tgmm_exact_and_bound if op == "tgmm" else LIBRARY.ragdot_gmm_exact_and_bound
    check(function(call.args, address(exact), address(bound), exact.size))
    return ExactAndBound(exact, bound)


def call_of(op: str, lhs: Any, rhs: Any, groups: Any, output: Output, *, bias: Any = None, activation: str | None = None,
            first_group: int | None = None, rows_outside: str = "zero", num_groups: int | None = None) -> Call:  # fmt: skip
    """The call of the op of a name."""
    if op == "tgmm":
        if bias is not None or activation is not None or rows_outside != "zero":
            raise ValueError("tgmm: bias, activation and rows_outside belong to gmm; leave them out")
        return tgmm_call(op, lhs, rhs, groups, output, first_group, num_groups)
    if op not in ("gmm", "dlhs"):
        raise ValueError(f"op is {op!r}; it must be gmm, dlhs or tgmm")
    if num_groups is not None:
        raise ValueError(f"{op}: num_groups belongs to tgmm; here rhs says how many groups are local")
    return gmm_call(op, lhs, rhs, groups, output, bias, activation, first_group, rows_outside)
