"""A linear layer for each group: ordinary parameters, weights quantised once until they change."""

import math
from typing import NamedTuple

import torch

from ragdot._recipes import Recipe, recipe_of
from ragdot.torch._grouped_mm import autocast, check_kinds
from ragdot.torch._products import Operand, multiply, one_copy, weight_operands


class _Copies(NamedTuple):
    """A weight as it was quantised, and what tells that it is still the same: itself, where it lay, how often it was written to."""

    operands: tuple[Operand, Operand | None]
    weight: torch.Tensor | None = None
    address: int = 0
    version: int = 0

    def fit(self, weight: torch.Tensor, backward: bool, recipe: Recipe) -> bool:
        """Whether they serve a call as they are."""
        return (self.weight is weight and self.address == weight.data_ptr() and self.version == weight._version
                and (not backward or self.operands[1] is not None or one_copy(weight, recipe)))  # fmt: skip


class GroupedLinear(torch.nn.Module):
    """out[m] = x[m] @ weight[g(m)].T + bias[g(m)] for the group g(m) of each row.

    weight: parameter [num_groups, out_features, in_features]; bias: [num_groups, out_features] or None. state_dict holds these alone.
    recipe: as in grouped_mm. A recipe that quantises does so to the weight once, and again after it was written to in place (as
        optimizers and load_state_dict do) or replaced. Writes through `weight.data` are not seen: pass is_first_microbatch=True then.
    fuse_wgrad_accumulation: the gradient is added to `weight.main_grad`, a float32 tensor of weight's shape that the caller made and
        zeroes; weight.grad stays as it is. Hooks that wait for weight.grad do not run.
    """

    def __init__(self, num_groups: int, in_features: int, out_features: int, bias: bool = False, *, recipe: str | Recipe | None = "blockwise",
                 fuse_wgrad_accumulation: bool = False, device: torch.device | str | None = None, dtype: torch.dtype | None = None):  # fmt: skip
        super().__init__()
        self.num_groups, self.in_features, self.out_features = num_groups, in_features, out_features
        self.recipe, self.fuse_wgrad_accumulation = recipe_of("GroupedLinear", recipe), fuse_wgrad_accumulation
        self.weight = torch.nn.Parameter(torch.empty(num_groups, out_features, in_features, device=device, dtype=dtype))
        self.bias = torch.nn.Parameter(torch.empty(num_groups, out_features, device=device, dtype=dtype)) if bias else None
        self._copies: _Copies | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Each group as torch.nn.Linear begins."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                torch.nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: torch.Tensor, offs: torch.Tensor, *, is_first_microbatch: bool | None = None) -> torch.Tensor:
        """x [M, in_features], offs [num_groups] end rows: [M, out_features] in x's dtype.

        is_first_microbatch: True quantises the weight, False takes what was quantised last. None finds out by itself; under
        torch.compile and in a CUDA graph, where it cannot, it quantises in every call.
        """
        (x,), w = autocast(x), self.weight.transpose(1, 2)
        if not self.recipe.quantizes:
            (w,) = autocast(w)
        check_kinds("GroupedLinear", x, w, offs, self.bias)
        copies = self._quantized(is_first_microbatch) if self.recipe.quantizes else None
        return multiply(x, w, self.bias, offs, self.recipe, x.dtype, copies=copies, main_grad=self._main_grad())

    def extra_repr(self) -> str:
        """Sizes and recipe."""
        return f"{self.num_groups}, {self.in_features}, {self.out_features}, bias={self.bias is not None}, recipe={self.recipe}"

    def _quantized(self, is_first_microbatch: bool | None) -> tuple[Operand, Operand | None] | None:
        """None: the product is to quantise for itself."""
        weight, backward = self.weight, torch.is_grad_enabled()
        if is_first_microbatch is False:
            if self._copies is None:
                raise ValueError("GroupedLinear: is_first_microbatch is False before any call with True; the first call of a step needs True")
            return self._copies.operands
        compiling = torch.compiler.is_compiling() or (weight.is_cuda and torch.cuda.is_current_stream_capturing())
        if is_first_microbatch is None:
            if compiling:
                return None
            if self._copies is not None and self._copies.fit(weight, backward, self.recipe):
                return self._copies.operands
        operands = weight_operands(weight.detach().transpose(1, 2), self.recipe, backward or is_first_microbatch is True)
        # While compiling, nothing can be known of the memory that the weight will have; a captured copy is written when the graph runs.
        self._copies = _Copies(operands) if compiling else _Copies(operands, weight, weight.data_ptr(), weight._version)
        return operands

    def _main_grad(self) -> torch.Tensor | None:
        if not self.fuse_wgrad_accumulation or not torch.is_grad_enabled():
            return None
        main_grad = getattr(self.weight, "main_grad", None)
        if main_grad is None or main_grad.dtype != torch.float32 or main_grad.shape != self.weight.shape:
            raise ValueError(f"GroupedLinear: fuse_wgrad_accumulation needs weight.main_grad, float32 {list(self.weight.shape)}; set "
                             "weight.main_grad = torch.zeros_like(weight, dtype=torch.float32)")  # fmt: skip
        return main_grad.transpose(1, 2)
