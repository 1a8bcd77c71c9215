"""A linear layer for each group, with ordinary parameters."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from ragdot._choices import integer_of
from ragdot._recipes import Recipe, recipe_of
from ragdot.torch._grouped_mm import autocast, check_kinds, check_pair, dtype_of
from ragdot.torch._kept import KeptWeight
from ragdot.torch._products import Matrix, multiply


def _main_grad_of(weight: torch.Tensor) -> torch.Tensor:
    """weight.main_grad, checked, [L, K, N]."""
    main_grad = getattr(weight, "main_grad", None)
    if main_grad is None or main_grad.dtype != torch.float32 or main_grad.shape != weight.shape or main_grad.device != weight.device:
        raise ValueError(f"GroupedLinear: fuse_wgrad_accumulation needs weight.main_grad, float32 {list(weight.shape)} on weight's device; set "
                         "weight.main_grad = torch.zeros_like(weight, dtype=torch.float32)")  # fmt: skip
    return main_grad.transpose(1, 2)


def check_features(op: str, x: Matrix, in_features: int) -> None:
    """Raises for what is no [M, in_features]."""
    if x.ndim != 2 or x.shape[1] != in_features:
        how = "; x.flatten(0, -2) has all rows in one matrix" if x.ndim > 2 and x.shape[-1] == in_features else ""
        raise ValueError(f"{op}: x is {list(x.shape)}; give [M, {in_features}], rows of in_features numbers{how}")


class GroupedLinear(torch.nn.Module):
    """out[m] = x[m] @ weight[g(m)].T + bias[g(m)] for the group g(m) of each row.

    weight: parameter [num_groups, out_features, in_features]; bias: [num_groups, out_features] or None. state_dict holds these alone.
    recipe: as in grouped_mm; another one may be set at any time. A recipe that quantises does so to the weight once, and again after a
        step of any optimizer where it wants gradients, or after it was written to in place (as load_state_dict does) or replaced. Writes
        through `weight.data` between steps are seen on a CPU alone, and there where they change one of the elements that are looked at
        (docs/torch.md): pass is_first_microbatch=True for others. A weight made in inference mode is quantised in every call.
    fuse_wgrad_accumulation: the gradient is added to `weight.main_grad`, a float32 tensor of weight's shape that the caller made and
        zeroes; weight.grad stays as it is. Hooks that wait for weight.grad do not run.
    """

    def __init__(self, num_groups: int, in_features: int, out_features: int, bias: bool = False, *, recipe: str | Recipe | None = "blockwise",
                 fuse_wgrad_accumulation: bool = False, device: torch.device | str | None = None, dtype: torch.dtype | None = None):  # fmt: skip
        super().__init__()
        self._kept = KeptWeight()
        self.num_groups, self.in_features, self.out_features = num_groups, in_features, out_features
        self.recipe, self.fuse_wgrad_accumulation = recipe, fuse_wgrad_accumulation
        self.weight = torch.nn.Parameter(torch.empty(num_groups, out_features, in_features, device=device, dtype=dtype))
        self.bias = torch.nn.Parameter(torch.empty(num_groups, out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    @property
    def recipe(self) -> Recipe:
        """How operands are quantised."""
        return self._recipe

    @recipe.setter
    def recipe(self, recipe: str | Recipe | None) -> None:
        new = recipe_of("GroupedLinear", recipe)
        if self.__dict__.get("_recipe") != new:
            # An object of its own: torch.compile does not guard what it has seen elsewhere, such as the recipe of another layer.
            self._recipe = dataclasses.replace(new)

    def __setattr__(self, name: str, value: Any) -> None:
        """fully_shard sets the weight before each use of memory that it has filled without a trace."""
        if name == "weight":
            self._kept.give_up()
        super().__setattr__(name, value)

    def _replicate_for_data_parallel(self) -> "GroupedLinear":
        replica = super()._replicate_for_data_parallel()
        replica.__dict__["_kept"] = KeptWeight()
        return replica

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": KeptWeight()}

    def _apply(self, function: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "GroupedLinear":
        """to() and the like swap tensors where torch is told to, and none that a weak reference points at."""
        self._kept.give_up()
        super()._apply(function, recurse)
        return self

    def reset_parameters(self) -> None:
        """Each group as torch.nn.Linear begins."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                torch.nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Matrix, offs: torch.Tensor, *, first_group: int | None = None, is_first_microbatch: bool | None = None) -> torch.Tensor:
        """x [M, in_features], offs [num_groups] end rows: [M, out_features] in x's dtype, bfloat16 for a ScaledTensor.

        first_group: offs may end more groups; the layer has those from this one on, and rows of the others are zero.

        is_first_microbatch: True quantises the weight, False takes what was quantised last. None finds out by itself; under
        torch.compile and torch.jit.trace and in a CUDA graph, where it cannot, it quantises in every call.
        """
        check_features("GroupedLinear", x, self.in_features)
        (x,), w = autocast(x), self.weight.transpose(1, 2)
        if not self.recipe.quantizes:
            (w,) = autocast(w)
        check_kinds("GroupedLinear", x, w, offs, self.bias, None, first_group)
        check_pair("GroupedLinear", x, w, self.recipe)
        copies = self._kept.quantized(self.weight, w, self.recipe, x.shape[0], is_first_microbatch) if self.recipe.quantizes else None
        first = integer_of("GroupedLinear", "first_group", first_group or 0)
        return multiply(x, w, self.bias, offs, self.recipe, dtype_of(x), first, copies=copies, main_grad=self._main_grad())

    if TYPE_CHECKING:  # torch's own takes and gives anything
        __call__ = forward

    def extra_repr(self) -> str:
        """Sizes and recipe."""
        return f"{self.num_groups}, {self.in_features}, {self.out_features}, bias={self.bias is not None}, recipe={self.recipe}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """What is loaded into the shards of a weight leaves no trace on the weight. Codes without their scales are no weights."""
        self._kept.give_up()
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        loaded, errors = state_dict.get(f"{prefix}weight"), arguments[-1]  # as hooks have left it
        if isinstance(loaded, torch.Tensor) and loaded.element_size() == 1:
            errors.append(f"GroupedLinear: {prefix}weight in the state is {loaded.dtype}, quantised; QuantizedGroupedLinear is for it,"
                          " or load ScaledTensor(values, scales, block).dequantize()")  # fmt: skip

    def _main_grad(self) -> Any:
        """What gives the tensor on the way back, where the caller may have zeroed or replaced it since; compiled, the tensor itself."""
        if not self.fuse_wgrad_accumulation or not torch.is_grad_enabled() or not self.weight.requires_grad:
            return None
        main_grad = _main_grad_of(self.weight)
        return main_grad if torch.compiler.is_compiling() else functools.partial(_main_grad_of, self.weight)
