"""gmm and tgmm with gradients: what is quantised when, and what is kept for the way back."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from ragdot._recipes import Recipe
from ragdot._scaled import Block
from ragdot.torch import _operators as ops
from ragdot.torch import _views
from ragdot.torch._gradients import first_derivatives, gradients_wanted, wanted_gradients
from ragdot.torch._packed import is_packed
from ragdot.torch._scaled import ScaledTensor, grid_of

Matrix = torch.Tensor | ScaledTensor


# What operators take for one tensor: values, scales, and their grid. A plain tuple: torch.compile looks at every step that makes
# another kind of object again before each call.
Operand = tuple[torch.Tensor, torch.Tensor | None, list[int]]
_NO_GRID = [0, 0, 0]
_NOTHING: tuple[torch.Tensor | None, torch.Tensor | None, list[int]] = (None, None, _NO_GRID)


def _transposed(x: Operand) -> Operand:
    """Rows and columns exchanged, on the same memory."""
    values, scales, grid = x
    return values.transpose(-1, -2), None if scales is None else scales.transpose(-1, -2), [grid[1], grid[0], grid[2]]


class Choices(NamedTuple):
    """What a product with gradients was asked for, tensors apart."""

    recipe: Recipe
    dtype: torch.dtype
    first_group: int
    x_grid: list[int]
    w_grid: list[int]
    turned_grid: list[int]


def quantized(x: Matrix, how: str, recipe: Recipe, ends: torch.Tensor | None = None) -> Operand:
    """x by the recipe's blocks of that name; with ends, these start anew at each group's first row. A ScaledTensor as it is."""
    if isinstance(x, ScaledTensor):
        return x.values, x.scales, x.grid
    if recipe.format is None:
        return x.float() if x.dtype == torch.float16 else x, None, _NO_GRID
    if not recipe.quantizes:
        return x.to(torch.bfloat16), None, _NO_GRID
    # A GPU takes copies whose summed axis is contiguous; a CPU writes and reads along the memory of x.
    turned = how in ("columns", "weights") if _views.on_gpu(x) else None
    return _blocks_quantized(x, getattr(recipe, how), recipe, ends, turned)


def _blocks_quantized(x: torch.Tensor, block: Block, recipe: Recipe, ends: torch.Tensor | None, turned: bool | None) -> Operand:
    """turned: whether the copy is to have contiguous columns; None: those of x."""
    if ends is None and _views.is_turned(x):
        return _transposed(_blocks_quantized(x.transpose(-1, -2), block[::-1], recipe, None, None if turned is None else not turned))
    quantize = ops.quantize_turned if turned else ops.quantize
    values, scales = quantize(x, ends, grid_of(block), recipe.format, recipe.scaling, recipe.scale_format)
    return values, scales, grid_of(block, ends is not None)


def one_copy(x: torch.Tensor, recipe: Recipe) -> bool:
    """Whether one copy of a matrix serves sums along either axis. A GPU takes FP8 along its memory alone."""
    return recipe.one_copy and not (recipe.quantizes and _views.on_gpu(x))


def _rows_and_columns(x: torch.Tensor, recipe: Recipe, ends: torch.Tensor, rows: bool,
                      columns: bool) -> tuple[Operand | None, Operand | None, torch.Tensor | None]:  # fmt: skip
    """x as summed along its columns, and as summed along the rows of each group; None for what is not wanted. Third, where the latter
    has other rows than x, the places of the groups in it."""
    if not recipe.quantizes:
        return *(quantized(x, "rows", recipe),) * 2, None
    placed = columns and _views.on_gpu(x)
    if not (rows and columns or placed):
        return quantized(x, "rows", recipe) if rows else None, quantized(x, "columns", recipe, ends) if columns else None, None
    grids = grid_of(recipe.rows), grid_of(recipe.columns)
    both = ops.quantize_both_placed if placed else ops.quantize_both
    row_values, row_scales, values, scales, *places = both(x, ends, *grids, recipe.format, recipe.scaling, recipe.scale_format)
    copies = (row_values, row_scales, grid_of(recipe.rows, True)), (values, scales, grid_of(recipe.columns, True))
    return *copies, places[0] if places else None


def weight_operands(w: torch.Tensor, recipe: Recipe, backward: bool) -> tuple[Operand, Operand | None]:
    """w [L, K, N] as summed along K and, where backward wants it and the first does not serve, as summed along N."""
    if backward and _views.on_gpu(w) and recipe.quantizes and recipe.one_copy:
        return _both_ways(w, recipe)
    forward = quantized(w, "weights", recipe)
    return forward, quantized(w, "turned_weights", recipe) if backward and not recipe.one_copy else None


def _both_ways(w: torch.Tensor, recipe: Recipe) -> tuple[Operand, Operand]:
    """The same blocks stored along K and along N, from one read."""
    if not _views.is_turned(w):
        along_n, along_k = _stored_both_ways(w, recipe)
        return along_k, along_n
    along_k, along_n = map(_transposed, _stored_both_ways(w.transpose(-1, -2), recipe))
    return along_k, along_n


def _stored_both_ways(w: torch.Tensor, recipe: Recipe) -> tuple[Operand, Operand]:
    """With contiguous rows, and with contiguous columns."""
    grid = grid_of(recipe.weights)
    values, scales, turned, turned_scales = ops.quantize_both(w, None, grid, grid, recipe.format, recipe.scaling, recipe.scale_format)
    return (values, scales, grid), (turned, turned_scales, grid)


def _for_weight_gradient(x: Operand, recipe: Recipe, ends: torch.Tensor) -> Operand:
    """x that came quantised, as summed along the rows of each group."""
    if not recipe.quantizes:
        return x
    exact = ops.dequantize(*x, ends if x[2][2] else None, torch.float32)
    return quantized(exact, "columns", recipe, ends)


def _stride_order(strides: tuple[int, ...]) -> list[int]:
    """The axes from the slowest to the fastest. Without sorted: torch.compile compares strides that it does not know, and sorts none."""
    order: list[int] = []
    for axis in range(len(strides)):
        place = len(order)
        while place > 0 and strides[order[place - 1]] < strides[axis]:
            place -= 1
        order.insert(place, axis)
    return order


def _group_sums(rows: torch.Tensor, ends: torch.Tensor, first_group: int, like: tuple[int, torch.dtype]) -> torch.Tensor:
    """The sum of the rows of each local group, [L, N]."""
    count, dtype = like
    if rows.dtype == torch.float16:
        rows = rows.float()
    ones = rows.new_ones((rows.shape[0], 1))
    return ops.tgmm(ones, rows, ends, None, None, [*_NO_GRID, *_NO_GRID], first_group, count, dtype, [0, 1, 2]).squeeze(1)


def _run_gmm(x: Operand, w: Operand, ends: torch.Tensor, dtype: torch.dtype, first_group: int, bias: torch.Tensor | None) -> torch.Tensor:
    (x_values, x_scales, x_grid), (w_values, w_scales, w_grid) = x, w
    if dtype != torch.bfloat16 or first_group != 0 or bias is not None:
        bias = None if bias is None else bias.float()
        return ops.gmm_general(x_values, w_values, ends, x_scales, w_scales, [*x_grid, *w_grid], bias, first_group, dtype)
    if x_scales is None and w_scales is None:
        return ops.gmm(x_values, w_values, ends)
    return ops.gmm_scaled(x_values, w_values, ends, x_scales, w_scales, [*x_grid, *w_grid])


def _run_tgmm(x: Operand, y: Operand, ends: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return ops.tgmm(x[0], y[0], ends, x[1], y[1], [*x[2], *y[2]], 0, ends.shape[-1], dtype, [0, 1, 2])


class Gmm(torch.autograd.Function):
    """gmm whose operands the recipe quantises, unless they come quantised.

    x: [M, K], or values with x_scales. w: [L, K, N], the tensor that gets the gradient; None where there is only a quantised copy.
    copy, turned: w quantised for the product and for the gradient of x, or None. main_grad: what the gradient of w is added to, as in
    multiply; w itself then gets none.
    """

    @staticmethod
    def forward(ctx, x, w, bias, ends, choices, x_scales, copy, copy_scales, turned, turned_scales, main_grad):
        recipe, (needs_x, needs_w) = choices.recipe, ctx.needs_input_grad[:2]
        if x_scales is None:
            rows, columns, places = _rows_and_columns(x, recipe, ends, True, needs_w)
        else:
            rows, places = (x, x_scales, choices.x_grid), None
            columns = _for_weight_gradient(rows, recipe, ends) if needs_w else None
        if copy is None:
            forward, backward = weight_operands(w, recipe, needs_x)
        else:
            forward = copy, copy_scales, choices.w_grid
            backward = None if turned is None else (turned, turned_scales, choices.turned_grid)
        columns = columns if needs_w else _NOTHING
        backward = (backward or forward) if needs_x else _NOTHING
        ctx.main_grad = main_grad if callable(main_grad) else None
        ctx.save_for_backward(ends, places, None if callable(main_grad) else main_grad, *columns[:2], *backward[:2])
        ctx.choices, ctx.columns_grid, ctx.w_grid = choices, columns[2], backward[2]
        ctx.x_dtype = x.dtype if x_scales is None else torch.bfloat16
        ctx.bias_like = None if bias is None else (bias.shape[0], bias.dtype)
        ctx.w_like = (w.shape[0], w.dtype, w.stride()) if needs_w else None
        return _run_gmm(rows, forward, ends, choices.dtype, choices.first_group, bias)

    @staticmethod
    @first_derivatives
    def backward(ctx, dy):
        ends, places, main_grad, columns, columns_scales, w, w_scales = ctx.saved_tensors
        needs_x, needs_w, needs_bias = wanted_gradients(ctx, 3)
        first_group, recipe = ctx.choices.first_group, ctx.choices.recipe.for_gradients()
        dx = dw = db = None
        # Where operands come as they are, those of the way back have the dtype of x too.
        rows, dy_columns, _ = _rows_and_columns(dy if recipe.format else dy.to(ctx.x_dtype), recipe, ends, needs_x, needs_w)
        if needs_x:
            dx = _run_gmm(rows, _transposed((ops.unpack(w) if is_packed(w) else w, w_scales, ctx.w_grid)), ends, ctx.x_dtype, first_group, None)
        if needs_w:
            dy_values, dy_scales, dy_grid = dy_columns
            operands = columns, dy_values, ends if places is None else places, columns_scales, dy_scales, [*ctx.columns_grid, *dy_grid], first_group
            if ctx.main_grad is not None:
                main_grad = ctx.main_grad()
            if main_grad is None:
                count, dtype, strides = ctx.w_like
                dw = ops.tgmm(*operands, count, dtype, _stride_order(strides))
            else:
                ops.tgmm_add(*operands, main_grad)
        if needs_bias:
            db = _group_sums(dy, ends, first_group, ctx.bias_like)
        return dx, dw, db, None, None, None, None, None, None, None, None


class Tgmm(torch.autograd.Function):
    """tgmm of x [M, K] and y [M, N], quantised by the recipe: [G, K, N]."""

    @staticmethod
    def forward(ctx, x, y, ends, recipe, dtype):
        needs_x, needs_y = ctx.needs_input_grad[:2]
        x_rows, x_columns, places = _rows_and_columns(x, recipe, ends, needs_y, True)
        y_rows, y_columns, _ = _rows_and_columns(y, recipe, ends, needs_x, True)
        saved = [operand if needed else _NOTHING for operand, needed in ((x_rows, needs_y), (y_rows, needs_x))]
        ctx.save_for_backward(ends, *saved[0][:2], *saved[1][:2])
        ctx.recipe, ctx.grids, ctx.dtypes = recipe, (saved[0][2], saved[1][2]), (x.dtype, y.dtype)
        return _run_tgmm(x_columns, y_columns, ends if places is None else places, dtype)

    @staticmethod
    @first_derivatives
    def backward(ctx, dout):
        ends, x, x_scales, y, y_scales = ctx.saved_tensors
        needs_x, needs_y = wanted_gradients(ctx, 2)
        recipe, (x_dtype, y_dtype) = ctx.recipe.for_gradients(), ctx.dtypes
        dout = dout if recipe.format else dout.to(x_dtype)
        dx = dy = None
        if needs_y:
            along_k = quantized(dout, "weights", recipe)
            dy = _run_gmm((x, x_scales, ctx.grids[0]), along_k, ends, y_dtype, 0, None)
        if needs_x:
            along_n = along_k if needs_y and one_copy(dout, recipe) else quantized(dout, "turned_weights", recipe)
            dx = _run_gmm((y, y_scales, ctx.grids[1]), _transposed(along_n), ends, x_dtype, 0, None)
        return dx, dy, None, None, None


def multiply(x: Matrix, w: Matrix | None, bias: torch.Tensor | None, ends: torch.Tensor, recipe: Recipe, dtype: torch.dtype, first_group: int = 0, *,
             copies: tuple[Operand, Operand | None] | None = None,
             main_grad: torch.Tensor | Callable[[], torch.Tensor] | None = None) -> torch.Tensor:  # fmt: skip
    """x [M, K] by w [L, K, N]: [M, N], with gradients.

    copies: w quantised already, for the product and, where another is needed for it, for the gradient of x; beside them w may be None, and
        has no gradient then.
    main_grad: float32 [L, K, N] to add the gradient of w to, or what gives it on the way back; w itself then gets none.
    """
    if not gradients_wanted(x, w, bias):
        rhs = quantized(w, "weights", recipe) if copies is None else copies[0]  # type: ignore[arg-type]  # there is one of them
        return _run_gmm(quantized(x, "rows", recipe), rhs, ends, dtype, first_group, bias)
    x_scales, x_grid, (forward, backward) = None, _NO_GRID, copies or (_NOTHING, None)
    if isinstance(x, ScaledTensor):
        x_grid, x_scales, x = x.grid, x.scales, x.values
    if isinstance(w, ScaledTensor):
        forward, w = (w.values, w.scales, w.grid), None  # type: ignore[assignment]
    turned = backward or _NOTHING
    choices = Choices(recipe, dtype, first_group, x_grid, forward[2], turned[2])
    return Gmm.apply(x, w, bias, ends, choices, x_scales, *forward[:2], *turned[:2], main_grad)


def multiply_groups(x: Matrix, y: Matrix, ends: torch.Tensor, recipe: Recipe, dtype: torch.dtype) -> torch.Tensor:
    """The products of x [M, K] and y [M, N], summed over the rows of each group, [G, K, N], with gradients."""
    if gradients_wanted(x, y):
        if isinstance(x, ScaledTensor) or isinstance(y, ScaledTensor):
            raise ValueError("grouped_mm: two matrices with a ScaledTensor have no gradients; detach the other one, or give both as plain tensors")
        return Tgmm.apply(x, y, ends, recipe, dtype)
    return _run_tgmm(quantized(x, "columns", recipe, ends), quantized(y, "columns", recipe, ends), ends, dtype)
