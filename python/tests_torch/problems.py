"""Problems for the tests of ragdot.torch, and their float64 answers by torch's autodiff."""

import torch

import ragdot.torch as rt
from ragdot._recipes import recipe_of

# Two rows in front of the end belong to no group; one group is empty, one has a single row; inner and outer end within a block.
ENDS = [70, 70, 129, 130, 170]
ROWS, INNER, OUTER = 172, 140, 136
RECIPES = ["bf16", "channelwise", "blockwise", "blockwise_e8m0", "mx", rt.Recipe(gradient_format="e5m2")]


def offs(dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.tensor(ENDS, dtype=dtype)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def ranges(ends: list[int]) -> list[slice]:
    return [slice(begin, end) for begin, end in zip([0, *ends], ends)]


def multiplied(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None = None, ends: list[int] = ENDS) -> torch.Tensor:
    """x [M, K] by w [G, K, N], a loop of torch's products."""
    parts = [x[rows] @ w[g] if bias is None else x[rows] @ w[g] + bias[g] for g, rows in enumerate(ranges(ends))]
    return torch.cat([*parts, x.new_zeros(x.shape[0] - ends[-1], w.shape[2])])


def summed(x: torch.Tensor, y: torch.Tensor, ends: list[int] = ENDS) -> torch.Tensor:
    """x [M, K] and y [M, N] over the rows of each group: [G, K, N]."""
    return torch.stack([x[rows].T @ y[rows] for rows in ranges(ends)])


def spread(scales: torch.Tensor, axis: int, block: int | None, extent: int) -> torch.Tensor:
    index = torch.zeros(extent, dtype=torch.long) if block is None else torch.arange(extent) // block
    return scales.index_select(axis, index)


def real(x: rt.ScaledTensor | torch.Tensor, ends: list[int] = ENDS) -> torch.Tensor:
    """Values times scales in float64; rows outside the groups of per_group scales are 0."""
    if isinstance(x, torch.Tensor):
        return x.double()
    values, scales = x.values.double(), spread(x.scales.float().double(), -1, x.block[1], x.shape[-1])
    if x.origin == "global":
        return values * spread(scales, -2, x.block[0], x.shape[-2])
    result, at = torch.zeros_like(values), 0
    for rows in ranges(ends):
        size = rows.stop - rows.start
        count = 1 if x.block[0] is None else -(-size // x.block[0])
        result[rows] = values[rows] * spread(scales[at : at + count], 0, x.block[0], size)
        at += count
    return result


def dequantised(x: torch.Tensor, how: str, recipe: str | rt.Recipe | None) -> torch.Tensor:
    """x in float64 as the recipe has it, quantised along "rows", "columns" (of each group), "weights" or "turned_weights"."""
    of = recipe_of("test", recipe)
    if of.format in (None, "bf16"):
        return (x if of.format is None else x.bfloat16()).double()
    depth, width = of.block, of.weight_block
    block = {"rows": (1, depth), "columns": (depth, 1), "weights": (depth, width), "turned_weights": (width, depth)}[how]
    return real(rt.quantize(x, block, of.format, of.scaling, of.scale_format, offs() if how == "columns" else None))


def assert_close(result: torch.Tensor, exact: torch.Tensor, magnitude: torch.Tensor) -> None:
    """Within the library's bound, its scale grids' segments included, and one rounding to the result's dtype. `magnitude` is the
    product of the operands' magnitudes."""
    roundings = 2 * max(ROWS, INNER, OUTER) // 32 + 20
    allowed = magnitude * roundings * 2.0**-24 + exact.abs() * {torch.float32: 2.0**-23, torch.bfloat16: 2.0**-8}[result.dtype] + 1e-30
    wrong = ~((result.double() - exact).abs() <= allowed)
    assert not wrong.any(), f"{int(wrong.sum())} of {wrong.numel()} outside the bound, first at {wrong.nonzero()[0].tolist()}"
