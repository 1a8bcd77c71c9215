"""A linear layer for each group: ordinary parameters, weights quantised once until they change."""

import contextlib
import dataclasses
import functools
import math
import weakref
from typing import Any, NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.optim.optimizer import register_optimizer_step_post_hook

from ragdot._choices import integer_of
from ragdot._recipes import Recipe, recipe_of
from ragdot.torch._grouped_mm import autocast, check_kinds, check_pair, dtype_of
from ragdot.torch._packed import is_packed
from ragdot.torch._products import Matrix, Operand, multiply, one_copy, packed_operand, refuse_transforms, weight_operands


class _Copies(NamedTuple):
    """A weight as it was quantised, and what tells that it is still the same: itself, where it lay, how often it was written to."""

    operands: tuple[Operand, Operand | None]
    recipe: Recipe
    weight: torch.Tensor | None = None  # None: it may have changed
    storage: StorageWeakRef | None = None  # no later storage gets the number of one that is referred to
    address: int = 0
    version: int = 0

    def fit(self, weight: torch.Tensor, recipe: Recipe) -> bool:
        """Whether they are what would be quantised now. Writes to a tensor of inference mode leave no trace."""
        return (self.weight is weight and self.recipe is recipe and not weight.is_inference() and self.address == weight.data_ptr()
                and self.version == weight._version and self.storage.cdata == weight.untyped_storage()._cdata)  # fmt: skip

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """A copied layer has none of its own, nor has one that was pickled."""

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()

    def serve(self, weight: torch.Tensor, backward: bool) -> bool:
        """Whether there is a copy for each direction."""
        if is_packed(self.operands[0][0]):
            return not backward and not _recorded()
        return not backward or self.operands[1] is not None or one_copy(weight, self.recipe)


def _recorded() -> bool:
    """Whether calls go into a graph or a trace, which runs again when copies have changed and the packed ones are gone."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


_FEW_ROWS = 32  # of each group: products of more are not bound by reading weights

# The layers that keep copies. Optimizers write to weights without a trace that a layer could see: fused ones, and those that step others
# which become the weights, as shards and float32 masters do.
_layers: "weakref.WeakSet[GroupedLinear]" = weakref.WeakSet()


def _after_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Every weight that wants gradients may have changed, and what the optimizer lists."""
    if torch.compiler.is_compiling() or not _layers:
        return
    listed = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    for layer in list(_layers):
        weight = None if layer._copies is None else layer._copies.weight
        if weight is not None and (weight.requires_grad or id(weight) in listed):
            layer._give_up_copies()


register_optimizer_step_post_hook(_after_step)


def _main_grad_of(weight: torch.Tensor) -> torch.Tensor:
    """weight.main_grad, checked, [L, K, N]."""
    main_grad = getattr(weight, "main_grad", None)
    if main_grad is None or main_grad.dtype != torch.float32 or main_grad.shape != weight.shape or main_grad.device != weight.device:
        raise ValueError(f"GroupedLinear: fuse_wgrad_accumulation needs weight.main_grad, float32 {list(weight.shape)} on weight's device; set "
                         "weight.main_grad = torch.zeros_like(weight, dtype=torch.float32)")  # fmt: skip
    return main_grad.transpose(1, 2)


class GroupedLinear(torch.nn.Module):
    """out[m] = x[m] @ weight[g(m)].T + bias[g(m)] for the group g(m) of each row.

    weight: parameter [num_groups, out_features, in_features]; bias: [num_groups, out_features] or None. state_dict holds these alone.
    recipe: as in grouped_mm; another one may be set at any time. A recipe that quantises does so to the weight once, and again after a
        step of any optimizer where it wants gradients, or after it was written to in place (as load_state_dict does) or replaced. Writes
        through `weight.data` are seen behind a step alone: pass is_first_microbatch=True for others. A weight made in inference mode is
        quantised in every call.
    fuse_wgrad_accumulation: the gradient is added to `weight.main_grad`, a float32 tensor of weight's shape that the caller made and
        zeroes; weight.grad stays as it is. Hooks that wait for weight.grad do not run.
    """

    def __init__(self, num_groups: int, in_features: int, out_features: int, bias: bool = False, *, recipe: str | Recipe | None = "blockwise",
                 fuse_wgrad_accumulation: bool = False, device: torch.device | str | None = None, dtype: torch.dtype | None = None):  # fmt: skip
        super().__init__()
        self._copies: _Copies | None = None
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
            self._give_up_copies()
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_copies": None}

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
        (x,), w = autocast(x), self.weight.transpose(1, 2)
        if not self.recipe.quantizes:
            (w,) = autocast(w)
        check_kinds("GroupedLinear", x, w, offs, self.bias, None, first_group)
        check_pair("GroupedLinear", x, w, self.recipe)
        copies = self._quantized(is_first_microbatch, x.shape[0]) if self.recipe.quantizes else None
        first = integer_of("GroupedLinear", "first_group", first_group or 0)
        return multiply(x, w, self.bias, offs, self.recipe, dtype_of(x), first, copies=copies, main_grad=self._main_grad())

    def extra_repr(self) -> str:
        """Sizes and recipe."""
        return f"{self.num_groups}, {self.in_features}, {self.out_features}, bias={self.bias is not None}, recipe={self.recipe}"

    def _give_up_copies(self) -> None:
        """The weight may have changed. is_first_microbatch=False still takes what was quantised last."""
        if self._copies is not None:
            self._copies = self._copies._replace(weight=None)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """What is loaded into the shards of a weight leaves no trace on the weight. Codes without their scales are no weights."""
        self._give_up_copies()
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        loaded, errors = state_dict.get(f"{prefix}weight"), arguments[-1]  # as hooks have left it
        if isinstance(loaded, torch.Tensor) and loaded.element_size() == 1:
            errors.append(f"GroupedLinear: {prefix}weight in the state is {loaded.dtype}, quantised; QuantizedGroupedLinear is for it,"
                          " or load ScaledTensor(values, scales, block).dequantize()")  # fmt: skip

    def _quantized(self, is_first_microbatch: bool | None, rows: int) -> tuple[Operand, Operand | None] | None:
        """None: the product is to quantise for itself."""
        refuse_transforms()
        weight, backward, kept = self.weight, torch.is_grad_enabled(), self._copies
        if is_first_microbatch is False:
            of_another = kept is not None and kept.recipe is not self.recipe
            if kept is None or of_another or not kept.serve(weight, backward):
                what = "" if kept is None else " and this recipe" if of_another else " and gradients"
                raise ValueError(f"GroupedLinear: is_first_microbatch is False before any call with True{what}; the first call of a step "
                                 "needs True")  # fmt: skip
            return kept.operands
        compiling = _recorded() or (weight.is_cuda and torch.cuda.is_current_stream_capturing())
        if is_first_microbatch is None:
            if compiling:
                return None
            if kept is not None and kept.fit(weight, self.recipe) and kept.serve(weight, backward):
                return kept.operands if backward else self._for_inference(kept, rows)
        # Copies made in inference mode could not be saved for a later way back.
        with contextlib.nullcontext() if compiling else torch.inference_mode(False):
            operands = weight_operands(weight.detach().transpose(1, 2), self.recipe, backward or is_first_microbatch is True)
        self._copies = _Copies(operands, self.recipe)
        # While compiling, nothing can be known of the memory that the weight will have; a captured copy is written when the graph runs.
        if not compiling and not weight.is_inference():
            self._copies = self._copies._replace(weight=weight, storage=StorageWeakRef(weight.untyped_storage()), address=weight.data_ptr(),
                                                 version=weight._version)  # fmt: skip
            _layers.add(self)
        return operands

    def _for_inference(self, kept: _Copies, rows: int) -> tuple[Operand, None]:
        """Kept copies that serve again. With few rows they are packed, which reads faster; in place of what they were, so that memory
        holds the weight once."""
        weight = kept.operands[0]
        if rows <= _FEW_ROWS * self.num_groups and weight[0].device.type == "cpu" and not is_packed(weight[0]):
            weight = packed_operand(weight)
            self._copies = kept._replace(operands=(weight, None))
        return weight, None

    def _main_grad(self) -> Any:
        """What gives the tensor on the way back, where the caller may have zeroed or replaced it since; compiled, the tensor itself."""
        if not self.fuse_wgrad_accumulation or not torch.is_grad_enabled() or not self.weight.requires_grad:
            return None
        main_grad = _main_grad_of(self.weight)
        return main_grad if torch.compiler.is_compiling() else functools.partial(_main_grad_of, self.weight)
