"""grouped_mm: what torch._grouped_mm computes, with every size and stride, defined tails, checked offsets and FP8 recipes."""

import torch
from torch import bfloat16, int32, int64, is_autocast_enabled, is_grad_enabled

from ragdot._recipes import Recipe, recipe_of
from ragdot.torch._operators import gmm, gmm_scaled
from ragdot.torch._products import Matrix, multiply, multiply_groups
from ragdot.torch._scaled import ScaledTensor
from ragdot.torch._views import INDEX

_BIAS = (torch.float32, torch.bfloat16, torch.float16)


def grouped_mm(x: Matrix, w: Matrix, offs: torch.Tensor, bias: torch.Tensor | None = None, out_dtype: torch.dtype | None = None, *,
               recipe: str | Recipe | None = None, first_group: int = 0) -> torch.Tensor:  # fmt: skip
    """Multiplies the groups of one axis, each with a matrix of its own.

    x [M, K], w [G, K, N]: out[m] = x[m] @ w[g(m)] + bias[g(m)], [M, N]; rows behind the last group are zero.
    x [K, M], w [M, N]: out[g] = x[:, rows of g] @ w[rows of g], [G, K, N]; of an empty group zero.
    x [G, M, K], w [K, N]: out[:, n] = x[g(n)] @ w[:, n], [M, N]; columns behind the last group are zero.

    x, w: bfloat16 or float32, any strides, or a ScaledTensor, which no recipe touches and which gets no gradient.
    offs: int32 or int64 [G] end rows of the groups (columns in the third form). They ascend and end within the axis; anything else is
        refused.
    bias: [G, N], first form only; float32, bfloat16 or float16.
    out_dtype: bfloat16, float16 or float32; None is that of x, bfloat16 for a ScaledTensor.
    recipe: None multiplies operands as they come, bfloat16 or float32. "bf16" rounds them to bfloat16. "channelwise", "blockwise",
        "blockwise_e8m0", "mx", or a Recipe, quantise them, and gradients on the way back. docs/torch.md says how.
    first_group: first form only: the L matrices of w belong to groups [first_group, first_group + L), rows of others are zero.

    Gradients come for x, w and bias; that of w in its dtype and memory order. Under autocast x and w are cast, nothing else.
    torch.compile(fullgraph=True) traces it. The bits are a function of operands, groups and recipe (docs/numerics.md). Raises ValueError
    with a sentence that says what to change, NotImplementedError for a pair of formats that is not offered.
    """
    # What most small calls are, before all else: looking at more, and torch.compile's guards on what is looked at, would take longer
    # than the rest of such a call.
    first_form = x.ndim == 2 and w.ndim == 3 and x.shape[-1] == w.shape[-2] and offs.ndim == 1 and x.device == w.device == offs.device
    if (first_form and recipe is None and bias is None and out_dtype is None and first_group == 0
            and (offs.dtype == int32 or offs.dtype == int64) and not is_autocast_enabled("cpu") and not is_autocast_enabled("cuda")):  # fmt: skip
        x_scaled, w_scaled = isinstance(x, ScaledTensor), isinstance(w, ScaledTensor)
        if x_scaled and w_scaled:
            return gmm_scaled(x.values, w.values, offs, x.scales, w.scales, [*x.grid, *w.grid])
        if not (x_scaled or w_scaled) and x.dtype == w.dtype == bfloat16 and not (is_grad_enabled() and (x.requires_grad or w.requires_grad)):
            return gmm(x, w, offs)
    check_kinds("grouped_mm", x, w, offs, bias)
    x, w = autocast(x, w)
    if out_dtype is None:
        out_dtype = torch.bfloat16 if isinstance(x, ScaledTensor) else x.dtype
    how = recipe_of("grouped_mm", recipe)
    if x.ndim == 2 and w.ndim == 3:
        return multiply(x, w, bias, offs, how, out_dtype, first_group)
    if bias is not None or first_group != 0:
        raise ValueError("grouped_mm: bias and first_group belong to x [M, K] with w [G, K, N]; leave them out")
    if x.ndim == 3:
        return multiply(w.transpose(-1, -2), x.transpose(-1, -2), None, offs, how, out_dtype).transpose(0, 1)
    return multiply_groups(x.transpose(-1, -2), w, offs, how, out_dtype)


def check_kinds(op: str, x: Matrix, w: Matrix, offs: torch.Tensor, bias: torch.Tensor | None) -> None:
    """Raises for what no form takes; the library checks the rest with the numbers at hand."""
    if (x.ndim, w.ndim) not in ((2, 3), (2, 2), (3, 2)) or x.shape[-1] != w.shape[-2]:
        raise ValueError(f"{op}: x is {list(x.shape)} and w is {list(w.shape)}; give [M, K] and [G, K, N], [K, M] and [M, N], or "
                         "[G, M, K] and [K, N]")  # fmt: skip
    if offs.dtype not in INDEX or offs.ndim != 1:
        raise ValueError(f"{op}: offs are {offs.dtype} {list(offs.shape)}; give the int32 or int64 ends of the groups, [G]")
    if not x.device == w.device == offs.device or (bias is not None and bias.device != x.device):
        on_bias = "" if bias is None else f", bias on {bias.device}"
        raise ValueError(f"{op}: x is on {x.device}, w on {w.device}, offs on {offs.device}{on_bias}; move all to one device")
    if bias is not None and bias.dtype not in _BIAS:
        raise ValueError(f"{op}: bias is {bias.dtype}; give float32, bfloat16 or float16")


def autocast(*operands: Matrix) -> tuple[Matrix, ...]:
    """The operands in autocast's dtype where that is on; what is quantised stays."""
    device = "cuda" if operands[0].device.type == "cuda" else "cpu"
    if not torch.is_autocast_enabled(device):
        return operands
    dtype = torch.get_autocast_dtype(device)
    return tuple(x if isinstance(x, ScaledTensor) else x.to(dtype) for x in operands)
