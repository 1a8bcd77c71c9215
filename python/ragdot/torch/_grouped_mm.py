"""grouped_mm: what torch._grouped_mm computes, with every size and stride, defined tails, checked offsets and FP8 recipes."""

from typing import TypeVar

import torch
from torch import Tensor, bfloat16, int32, int64, is_autocast_enabled, is_grad_enabled
from torch.autograd import forward_ad

from ragdot._choices import integer_of
from ragdot._recipes import AS_IT_COMES, Recipe, recipe_of
from ragdot.torch._gradients import transforms_active
from ragdot.torch._operators import gmm, gmm_scaled
from ragdot.torch._products import Matrix, multiply, multiply_groups
from ragdot.torch._scaled import FLOATS, ScaledTensor, check_offs, kind_of, listed
from ragdot.torch._views import scales_shape

_M = TypeVar("_M", Tensor, Matrix)
# Where scales of each form's operands may begin: groups cut the rows of x, the summed axis, or the columns of w.
_X_ORIGINS = {(2, 3): ("global", "per_group"), (2, 2): ("global", "per_group_columns"), (3, 2): ("global",)}
_W_ORIGINS = {(2, 3): ("global",), (2, 2): ("global", "per_group"), (3, 2): ("global", "per_group_columns")}


def grouped_mm(x: Matrix, w: Matrix, offs: torch.Tensor | None = None, bias: torch.Tensor | None = None,
               out_dtype: torch.dtype | None = None, *, recipe: str | Recipe | None = None,
               first_group: int | None = None) -> torch.Tensor:  # fmt: skip
    """Multiplies the groups of one axis, each with a matrix of its own.

    x [M, K], w [G, K, N]: out[m] = x[m] @ w[g(m)] + bias[g(m)], [M, N]; rows behind the last group are zero.
    x [K, M], w [M, N]: out[g] = x[:, rows of g] @ w[rows of g], [G, K, N]; of an empty group zero.
    x [G, M, K], w [K, N]: out[:, n] = x[g(n)] @ w[:, n], [M, N]; columns behind the last group are zero.
    x [G, M, K], w [G, K, N], no offs: out[g] = x[g] @ w[g] + bias[g], [G, M, N]: the first form, with M rows in each group.

    x, w: bfloat16, float32 or float16, any strides, or a ScaledTensor, which no recipe touches and which gets no gradient.
    offs: int32 or int64 [G] end rows of the groups (columns in the third form). They ascend and end within the axis; anything else is
        refused.
    bias: [G, N], first and fourth form only; float32, bfloat16 or float16.
    out_dtype: bfloat16, float16 or float32; None is that of x, bfloat16 for a ScaledTensor.
    recipe: None multiplies operands as they come, float16 as float32. "bf16" rounds them to bfloat16. "channelwise", "blockwise",
        "blockwise_e8m0", "mx", or a Recipe, quantise them, and gradients on the way back. docs/torch.md says how.
    first_group: first form only: the L matrices of w belong to groups [first_group, first_group + L), rows of others are zero. None:
        w has a matrix for each group.

    Gradients come for x, w and bias; that of w in its dtype and memory order. Under autocast x and w are cast, nothing else.
    torch.compile(fullgraph=True) traces it. The bits are a function of operands, groups and recipe (docs/numerics.md). Raises ValueError
    with a sentence that says what to change, NotImplementedError for a pair of formats that is not offered, for forward-mode derivatives
    and under torch.func.
    """
    # What most small calls are, before all else: looking at more, and torch.compile's guards on what is looked at, would take longer
    # than the rest of such a call.
    x_scaled, w_scaled = isinstance(x, ScaledTensor), isinstance(w, ScaledTensor)
    if not ((x_scaled or isinstance(x, Tensor)) and (w_scaled or isinstance(w, Tensor)) and (offs is None or isinstance(offs, Tensor))):
        raise ValueError(f"grouped_mm: x is {kind_of(x)}, w {kind_of(w)}, offs {kind_of(offs)}; give tensors, or a ScaledTensor for x or w")
    if offs is None:
        return _without_offs(x, w, bias, out_dtype, recipe, first_group)
    x_values: Tensor
    w_values: Tensor
    x_values, w_values = x.values if x_scaled else x, w.values if w_scaled else w  # type: ignore[assignment]
    x_shape, w_shape = x_values.shape, w_values.shape
    first_form = (len(x_shape) == 2 and len(w_shape) == 3 and x_shape[1] == w_shape[1] and offs.shape == w_shape[:1]
                  and x_values.device == w_values.device == offs.device)  # fmt: skip
    if (first_form and recipe is None and bias is None and out_dtype is None and not first_group and forward_ad._current_level < 0
            and (offs.dtype == int32 or offs.dtype == int64) and not is_autocast_enabled("cpu") and not is_autocast_enabled("cuda")):  # fmt: skip
        if x_scaled and w_scaled:
            return gmm_scaled(x_values, w_values, offs, x.scales, w.scales, [*x.grid, *w.grid])  # type: ignore[union-attr]
        if not (x_scaled or w_scaled) and x.dtype == w.dtype == bfloat16:  # type: ignore[union-attr]
            if is_grad_enabled() and (x.requires_grad or w.requires_grad or transforms_active()):  # type: ignore[union-attr]
                return multiply(x, w, None, offs, AS_IT_COMES, bfloat16)
            return gmm(x, w, offs)
    check_kinds("grouped_mm", x, w, offs, bias, out_dtype, first_group)
    x, w = autocast(x, w)
    if out_dtype is None:
        out_dtype = dtype_of(x)
    how = recipe_of("grouped_mm", recipe)
    check_pair("grouped_mm", x, w, how)
    if x.ndim == 2 and w.ndim == 3:
        return multiply(x, w, bias, offs, how, out_dtype, integer_of("grouped_mm", "first_group", first_group or 0))
    if bias is not None or first_group:
        raise ValueError("grouped_mm: bias and first_group belong to x [M, K] with w [G, K, N]; leave them out")
    if x.ndim == 3:
        return multiply(w.transpose(-1, -2), x.transpose(-1, -2), None, offs, how, out_dtype).transpose(0, 1)
    return multiply_groups(x.transpose(-1, -2), w, offs, how, out_dtype)


def _without_offs(x: Matrix, w: Matrix, bias: torch.Tensor | None, out_dtype: torch.dtype | None, recipe: str | Recipe | None,
                  first_group: int | None) -> torch.Tensor:  # fmt: skip
    """The fourth form: x [G, M, K] as one matrix of G groups."""
    if x.ndim != 3 or w.ndim != 3 or x.shape[0] != w.shape[0] or x.shape[2] != w.shape[1]:
        raise ValueError(f"grouped_mm: x is {list(x.shape)}, w is {list(w.shape)} and offs None; give [G, M, K] and [G, K, N], or "
                         "offs, the ends of the groups")  # fmt: skip
    if first_group:
        raise ValueError("grouped_mm: first_group belongs to x [M, K] with w [G, K, N]; leave it out")
    count, rows, _ = x.shape
    ends = torch.arange(1, count + 1, device=x.device) * rows
    return grouped_mm(_as_one_matrix(x), w, ends, bias, out_dtype, recipe=recipe).unflatten(0, (count, rows))


def _as_one_matrix(x: Matrix) -> Matrix:
    """The rows of all matrices. Each matrix's blocks begin at its first row, as those of a group do."""
    if not isinstance(x, ScaledTensor):
        return x.flatten(0, 1)
    needed = scales_shape(x.values, None, x.grid)
    if x.origin != "global" or list(x.scales.shape) != needed:
        raise ValueError(f"grouped_mm: the scales of x are {x.origin} {list(x.scales.shape)}; with x {list(x.shape)} in blocks of {x.block} and "
                         f"without offs they must be global {needed}")  # fmt: skip
    return ScaledTensor(x.values.flatten(0, 1), x.scales.flatten(0, 1), x.block, "per_group")


def check_kinds(op: str, x: Matrix, w: Matrix, offs: torch.Tensor, bias: torch.Tensor | None, out_dtype: torch.dtype | None = None,
                first_group: int | None = None) -> None:  # fmt: skip
    """Raises for what no form takes; the library checks the rest with the numbers at hand."""
    for name, operand in (("x", x), ("w", w)):
        if isinstance(operand, ScaledTensor):
            continue
        if operand.dtype not in FLOATS:
            raise ValueError(f"{op}: {name} is {operand.dtype}; give {listed(FLOATS)}, or a ScaledTensor")
        if hasattr(operand, "to_local"):
            raise ValueError(f"{op}: {name} is a {type(operand).__name__}; give {name}.to_local() of each process, and first_group for which of the "
                             "groups it holds (MoE: process_group)")  # fmt: skip
        if operand.layout != torch.strided:
            raise ValueError(f"{op}: {name} is {operand.layout}; give {name}.to_dense()")
    if (x.ndim, w.ndim) not in ((2, 3), (2, 2), (3, 2)) or x.shape[-1] != w.shape[-2]:
        stored = w.ndim == 3 and x.ndim == 2 and x.shape[1] == w.shape[2]
        raise ValueError(f"{op}: x is {list(x.shape)} and w is {list(w.shape)}; "
                         + ("w is stored [G, N, K]: give w.mT" if stored else "give [M, K] and [G, K, N], [K, M] and [M, N], "
                            "[G, M, K] and [K, N], or, to grouped_mm without offs, [G, M, K] and [G, K, N]"))  # fmt: skip
    check_offs(op, offs)
    if not x.device == w.device == offs.device or (bias is not None and bias.device != x.device):
        on_bias = "" if bias is None else f", bias on {bias.device}"
        raise ValueError(f"{op}: x is on {x.device}, w on {w.device}, offs on {offs.device}{on_bias}; move all to one device")
    matrices = w.shape[0] if w.ndim == 3 else x.shape[0] if x.ndim == 3 else offs.shape[0]
    if first_group is None and offs.shape[0] != matrices:
        raise ValueError(f"{op}: offs end {offs.shape[0]} groups and there are {matrices} matrices; give one for each group, or say which "
                         "groups they belong to by first_group")  # fmt: skip
    if bias is not None and (bias.dtype not in FLOATS or bias.ndim != 2):
        raise ValueError(f"{op}: bias is {bias.dtype} {list(bias.shape)}; give {listed(FLOATS)}, [G, N]")
    if out_dtype is not None and out_dtype not in FLOATS:
        raise ValueError(f"{op}: out_dtype is {out_dtype!r}; give {listed(FLOATS)}")
    for name, operand, origins in (("x", x, _X_ORIGINS[x.ndim, w.ndim]), ("w", w, _W_ORIGINS[x.ndim, w.ndim])):
        if isinstance(operand, ScaledTensor) and operand.origin not in origins:
            raise ValueError(f"{op}: the scales of {name} are {operand.origin}; with x {list(x.shape)} and w {list(w.shape)} they must be "
                             f"{' or '.join(origins)}")  # fmt: skip
    if forward_ad._current_level >= 0:
        for tensor in (x, w, bias):
            if isinstance(tensor, torch.Tensor) and forward_ad.unpack_dual(tensor).tangent is not None:
                raise NotImplementedError(f"{op}: forward-mode derivatives are not offered; use backward()")


def check_pair(op: str, x: Matrix, w: Matrix, recipe: Recipe) -> None:
    """Raises where float32 or float16 meets what it is not multiplied with as it comes, in the caller's types."""
    if recipe.format is None:
        kinds = [z.values.dtype if isinstance(z, ScaledTensor) else z.dtype for z in (x, w)]
        wide = [kind in (torch.float16, torch.float32) for kind in kinds]
        if any(wide) and not all(wide):
            raise NotImplementedError(f"{op}: x is {kinds[0]} and w {kinds[1]}; without a recipe float32 and float16 are multiplied with each "
                                      'other alone: convert an operand, or give recipe="bf16"')  # fmt: skip


def dtype_of(x: Matrix) -> torch.dtype:
    """That of the result where none is asked for."""
    return torch.bfloat16 if isinstance(x, ScaledTensor) else x.dtype


def autocast(*operands: _M) -> tuple[_M, ...]:
    """The operands in autocast's dtype where that is on; what is quantised stays."""
    device = "cuda" if operands[0].device.type == "cuda" else "cpu"
    if not torch.is_autocast_enabled(device):
        return operands
    dtype = torch.get_autocast_dtype(device)
    return tuple(x if isinstance(x, ScaledTensor) else x.to(dtype) for x in operands)
