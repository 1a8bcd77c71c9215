"""A grouped linear layer whose weight is FP8 in the state too: for checkpoints that are quantised, and for serving."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from ragdot._recipes import Recipe, recipe_of
from ragdot.torch._grouped_mm import grouped_mm
from ragdot.torch._linear import GroupedLinear, check_features
from ragdot.torch._products import Matrix
from ragdot.torch._scaled import ScaledTensor, grid_of, quantize
from ragdot.torch._views import DTYPES, scales_shape


class QuantizedGroupedLinear(torch.nn.Module):
    """What GroupedLinear computes with `recipe`, from a weight that is quantised already and has no gradient; x and bias get theirs.

    weight: buffer [num_groups, out_features, in_features] of the recipe's format; weight_scale_inv: buffer of its scales, weight =
        value * scale, in the recipe's blocks: [num_groups, ceil(out_features / 128), ceil(in_features / 128)] for "blockwise". The
        names are those of `ragdot quantize` and of published FP8 checkpoints. bias: parameter [num_groups, out_features] or None.

    A new layer's weight is zero: load a state, or take from_linear. Raises ValueError for a recipe that quantises nothing.
    """

    weight: torch.Tensor
    weight_scale_inv: torch.Tensor

    def __init__(self, num_groups: int, in_features: int, out_features: int, bias: bool = False, *, recipe: str | Recipe = "blockwise",
                 device: torch.device | str | None = None, dtype: torch.dtype | None = None):  # fmt: skip
        super().__init__()
        self.recipe = recipe_of("QuantizedGroupedLinear", recipe)
        if not self.recipe.quantizes:
            raise ValueError(f"QuantizedGroupedLinear: recipe is {recipe!r}, which quantises nothing; GroupedLinear is for it")
        self.num_groups, self.in_features, self.out_features = num_groups, in_features, out_features
        self.block = self.recipe.weights[::-1]  # of [out_features, in_features]
        values = torch.zeros(num_groups, out_features, in_features, dtype=DTYPES[self.recipe.format], device=device)  # type: ignore[index]
        scales = torch.ones(scales_shape(values, None, grid_of(self.block)), dtype=DTYPES[self.recipe.scale_format], device=device)
        self.register_buffer("weight", values)
        self.register_buffer("weight_scale_inv", scales)
        self.bias = torch.nn.Parameter(torch.zeros(num_groups, out_features, device=device, dtype=dtype)) if bias else None

    @classmethod
    def from_linear(cls, layer: GroupedLinear, recipe: str | Recipe | None = None) -> "QuantizedGroupedLinear":
        """The layer's weight quantised by a recipe, its own where None is given; the same bits as the layer has with it."""
        made = cls(layer.num_groups, layer.in_features, layer.out_features, layer.bias is not None,
                   recipe=layer.recipe if recipe is None else recipe, device="meta")  # fmt: skip
        how = made.recipe
        quantized = quantize(layer.weight.detach(), made.block, how.format, how.scaling, how.scale_format)  # type: ignore[arg-type]
        made.weight, made.weight_scale_inv = quantized.values, quantized.scales
        if layer.bias is not None:
            made.bias = torch.nn.Parameter(layer.bias.detach().clone())
        return made

    def forward(self, x: Matrix, offs: torch.Tensor, *, first_group: int | None = None, is_first_microbatch: bool | None = None) -> torch.Tensor:
        """As GroupedLinear's. is_first_microbatch has no effect: the weight is quantised once and for all."""
        check_features("QuantizedGroupedLinear", x, self.in_features)
        weight = ScaledTensor(self.weight, self.weight_scale_inv, self.block).mT
        return grouped_mm(x, weight, offs, self.bias, recipe=self.recipe, first_group=first_group)

    if TYPE_CHECKING:  # torch's own takes and gives anything
        __call__ = forward

    def extra_repr(self) -> str:
        """Sizes and recipe."""
        return f"{self.num_groups}, {self.in_features}, {self.out_features}, bias={self.bias is not None}, recipe={self.recipe}"

    def _apply(self, function: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "QuantizedGroupedLinear":
        """to(dtype) and the like move codes and scales, and convert none."""
        kept = self.weight, self.weight_scale_inv
        super()._apply(function, recurse)
        for name, before in zip(("weight", "weight_scale_inv"), kept):
            after = getattr(self, name)
            if after.dtype != before.dtype:
                setattr(self, name, before.to(after.device))
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Copying would convert numbers, which are no codes, and codes of another format."""
        dtypes = {name: getattr(self, name).dtype for name in ("weight", "weight_scale_inv")}  # assign=True puts others in their place
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        for name, dtype in dtypes.items():
            loaded = state_dict.get(prefix + name)
            if isinstance(loaded, torch.Tensor) and loaded.dtype != dtype:
                arguments[-1].append(f"QuantizedGroupedLinear: {prefix}{name} in the state is {loaded.dtype} and the recipe's {dtype}; quantise the "
                                     "weight (from_linear), or give the layer the recipe of the state")  # fmt: skip
