"""gmm and tgmm with gradients: what is quantised when, and what is kept for the way back."""

from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

from ragdot._recipes import Recipe
from ragdot._scaled import Block
from ragdot.torch import _operators as ops
from ragdot.torch._scaled import ScaledTensor, grid_of

Matrix = torch.Tensor | ScaledTensor


class Operand(NamedTuple):
    """What operators take for one tensor."""

    values: torch.Tensor | None
    scales: torch.Tensor | None
    grid: list[int]

    def transpose(self) -> "Operand":
        """Rows and columns exchanged, on the same memory."""
        scales = None if self.scales is None else self.scales.transpose(-1, -2)
        return Operand(self.values.transpose(-1, -2), scales, self.grid[::-1])


_NOTHING = Operand(None, None, [])


class Choices(NamedTuple):
    """What a product was asked for, tensors apart."""

    recipe: Recipe
    dtype: torch.dtype
    first_group: int = 0
    x_grid: list[int] = []
    w_grid: list[int] = []
    turned_grid: list[int] = []


def quantized(x: torch.Tensor, block: Block, recipe: Recipe, ends: torch.Tensor | None = None) -> Operand:
    """x by a recipe in one of its blocks; with ends, these start anew at each group's first row."""
    if recipe.format is None:
        return Operand(x, None, [])
    if not recipe.quantizes:
        return Operand(x.to(torch.bfloat16), None, [])
    if ends is None and x.stride(-2) == 1 != x.stride(-1):  # as weights stored [L, N, K] come: read and written along their memory
        return quantized(x.transpose(-1, -2), block[::-1], recipe).transpose()
    values, scales = ops.quantize(x, ends, grid_of(block), recipe.format, recipe.scaling, recipe.scale_format)
    return Operand(values, scales, grid_of(block, ends is not None))


def _rows_and_columns(x: torch.Tensor, recipe: Recipe, ends: torch.Tensor, rows: bool, columns: bool) -> tuple[Operand | None, Operand | None]:
    """x as summed along its columns, and as summed along the rows of each group; None for what is not wanted."""
    if not recipe.quantizes:
        return (quantized(x, recipe.rows, recipe),) * 2
    if not (rows and columns):
        return quantized(x, recipe.rows, recipe) if rows else None, quantized(x, recipe.columns, recipe, ends) if columns else None
    grids = grid_of(recipe.rows), grid_of(recipe.columns)
    row_values, row_scales, values, scales = ops.quantize_both(x, ends, *grids, recipe.format, recipe.scaling, recipe.scale_format)
    return Operand(row_values, row_scales, grid_of(recipe.rows, True)), Operand(values, scales, grid_of(recipe.columns, True))


def weight_operands(w: torch.Tensor, recipe: Recipe, backward: bool) -> tuple[Operand, Operand | None]:
    """w [L, K, N] as summed along K and, where backward wants it and the first does not serve, as summed along N."""
    forward = quantized(w, recipe.weights, recipe)
    return forward, quantized(w, recipe.turned_weights, recipe) if backward and not recipe.one_copy else None


def _for_weight_gradient(x: Operand, recipe: Recipe, ends: torch.Tensor) -> Operand:
    """x that came quantised, as summed along the rows of each group."""
    if not recipe.quantizes:
        return x
    exact = ops.dequantize(*x, ends if len(x.grid) == 3 else None, torch.float32)
    return quantized(exact, recipe.columns, recipe, ends)


def _stride_order(x: torch.Tensor) -> list[int]:
    """The axes from the slowest to the fastest."""
    strides = x.stride()
    return sorted(range(x.ndim), key=lambda axis: -strides[axis])


def _group_sums(rows: torch.Tensor, ends: torch.Tensor, first_group: int, like: tuple[int, torch.dtype]) -> torch.Tensor:
    """The sum of the rows of each local group, [L, N]."""
    count, dtype = like
    if rows.dtype == torch.float16:
        rows = rows.float()
    ones = rows.new_ones((rows.shape[0], 1))
    return ops.tgmm(ones, None, [], rows, None, [], ends, first_group, count, dtype, [0, 1, 2]).squeeze(1)


def _run_gmm(x: Operand, w: Operand, bias: torch.Tensor | None, ends: torch.Tensor, choices: Choices) -> torch.Tensor:
    return ops.gmm(*x, *w, ends, None if bias is None else bias.float(), choices.first_group, choices.dtype)


def _run_tgmm(x: Operand, y: Operand, ends: torch.Tensor, choices: Choices) -> torch.Tensor:
    return ops.tgmm(*x, *y, ends, 0, ends.shape[0], choices.dtype, [0, 1, 2])


class Gmm(torch.autograd.Function):
    """gmm whose operands the recipe quantises, unless they come quantised.

    x: [M, K], or values with x_scales. w: [L, K, N], the tensor that gets the gradient; None where there is only a quantised copy.
    copy, turned: w quantised for the product and for the gradient of x, or None. main_grad: float32 [L, K, N] to add the gradient
    of w to; w itself then gets none.
    """

    @staticmethod
    def forward(ctx, x, w, bias, ends, x_scales, copy, copy_scales, turned, turned_scales, main_grad, choices):
        recipe, (needs_x, needs_w) = choices.recipe, ctx.needs_input_grad[:2]
        if x_scales is None:
            rows, columns = _rows_and_columns(x, recipe, ends, True, needs_w)
        else:
            rows = Operand(x, x_scales, choices.x_grid)
            columns = _for_weight_gradient(rows, recipe, ends) if needs_w else None
        if copy is None:
            forward, backward = weight_operands(w, recipe, needs_x)
        else:
            forward = Operand(copy, copy_scales, choices.w_grid)
            backward = None if turned is None else Operand(turned, turned_scales, choices.turned_grid)
        columns = columns if needs_w else _NOTHING
        backward = (backward or forward) if needs_x else _NOTHING
        ctx.save_for_backward(ends, main_grad, *columns[:2], *backward[:2])
        ctx.choices, ctx.columns_grid, ctx.w_grid = choices, columns.grid, backward.grid
        ctx.x_dtype = x.dtype if x_scales is None else torch.bfloat16
        ctx.bias_like = None if bias is None else (bias.shape[0], bias.dtype)
        ctx.w_like = (w.shape[0], w.dtype, _stride_order(w)) if needs_w else None
        return _run_gmm(rows, forward, bias, ends, choices)

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        ends, main_grad, columns, columns_scales, w, w_scales = ctx.saved_tensors
        needs_x, needs_w, needs_bias = ctx.needs_input_grad[:3]
        first_group, recipe = ctx.choices.first_group, ctx.choices.recipe.for_gradients()
        dx = dw = db = None
        # Where operands come as they are, those of the way back have the dtype of x too.
        rows, dy_columns = _rows_and_columns(dy if recipe.format else dy.to(ctx.x_dtype), recipe, ends, needs_x, needs_w)
        if needs_x:
            turned = Operand(w, w_scales, ctx.w_grid).transpose()
            dx = ops.gmm(*rows, *turned, ends, None, first_group, ctx.x_dtype)
        if needs_w:
            operands = columns, columns_scales, ctx.columns_grid, *dy_columns, ends, first_group
            if main_grad is None:
                dw = ops.tgmm(*operands, *ctx.w_like)
            else:
                ops.tgmm_add(*operands, main_grad)
        if needs_bias:
            db = _group_sums(dy, ends, first_group, ctx.bias_like)
        return dx, dw, db, None, None, None, None, None, None, None, None


class Tgmm(torch.autograd.Function):
    """tgmm of x [M, K] and y [M, N], quantised by the recipe: [G, K, N]."""

    @staticmethod
    def forward(ctx, x, y, ends, choices):
        needs_x, needs_y = ctx.needs_input_grad[:2]
        x_rows, x_columns = _rows_and_columns(x, choices.recipe, ends, needs_y, True)
        y_rows, y_columns = _rows_and_columns(y, choices.recipe, ends, needs_x, True)
        saved = [operand if needed else _NOTHING for operand, needed in ((x_rows, needs_y), (y_rows, needs_x))]
        ctx.save_for_backward(ends, *saved[0][:2], *saved[1][:2])
        ctx.choices, ctx.grids, ctx.dtypes = choices, (saved[0].grid, saved[1].grid), (x.dtype, y.dtype)
        return _run_tgmm(x_columns, y_columns, ends, choices)

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        ends, x, x_scales, y, y_scales = ctx.saved_tensors
        needs_x, needs_y = ctx.needs_input_grad[:2]
        recipe, (x_dtype, y_dtype) = ctx.choices.recipe.for_gradients(), ctx.dtypes
        dout = dout if recipe.format else dout.to(x_dtype)
        dx = dy = None
        if needs_y:
            along_k = quantized(dout, recipe.weights, recipe)
            dy = ops.gmm(x, x_scales, ctx.grids[0], *along_k, ends, None, 0, y_dtype)
        if needs_x:
            along_n = along_k if needs_y and recipe.one_copy else quantized(dout, recipe.turned_weights, recipe)
            dx = ops.gmm(y, y_scales, ctx.grids[1], *along_n.transpose(), ends, None, 0, x_dtype)
        return dx, dy, None, None


def multiply(x: Matrix, w: Matrix, bias: torch.Tensor | None, ends: torch.Tensor, choices: Choices, *,
             copies: tuple[Operand, Operand | None] | None = None, main_grad: torch.Tensor | None = None) -> torch.Tensor:  # fmt: skip
    """x [M, K] by w [L, K, N]: [M, N], with gradients. `copies` are w quantised already, for the product and, where another is
    needed for it, for the gradient of x. main_grad: float32 [L, K, N] to add the gradient of w to; w itself then gets none."""
    x_scales, (forward, turned) = None, copies or (None, None)
    if isinstance(x, ScaledTensor):
        choices, x_scales, x = choices._replace(x_grid=x.grid), x.scales, x.values
    if isinstance(w, ScaledTensor):
        forward, w = Operand(w.values, w.scales, w.grid), None
    wanted = x.requires_grad or (w is not None and w.requires_grad) or (bias is not None and bias.requires_grad)
    if not (wanted and torch.is_grad_enabled()):
        lhs = quantized(x, choices.recipe.rows, choices.recipe) if x_scales is None else Operand(x, x_scales, choices.x_grid)
        rhs = quantized(w, choices.recipe.weights, choices.recipe) if forward is None else forward
        return _run_gmm(lhs, rhs, bias, ends, choices)
    forward, turned = forward or _NOTHING, turned or _NOTHING
    choices = choices._replace(w_grid=forward.grid, turned_grid=turned.grid)
    return Gmm.apply(x, w, bias, ends, x_scales, *forward[:2], *turned[:2], main_grad, choices)


def multiply_groups(x: Matrix, y: Matrix, ends: torch.Tensor, choices: Choices) -> torch.Tensor:
    """The products of x [M, K] and y [M, N], summed over the rows of each group, [G, K, N], with gradients."""
    if torch.is_grad_enabled() and any(isinstance(z, torch.Tensor) and z.requires_grad for z in (x, y)):
        if isinstance(x, ScaledTensor) or isinstance(y, ScaledTensor):
            raise ValueError("grouped_mm: two matrices with a ScaledTensor have no gradients; detach the other one, or give both as plain tensors")
        return Tgmm.apply(x, y, ends, choices)
    operands = [Operand(z.values, z.scales, z.grid) if isinstance(z, ScaledTensor) else quantized(z, choices.recipe.columns, choices.recipe, ends)
                for z in (x, y)]  # fmt: skip
    return _run_tgmm(*operands, ends, choices)
