"""The implementations of experts: what multiplies tokens by the weights that a model's experts hold, as numbers or as FP8 codes and scales."""

import weakref
from typing import Any

import torch

try:
    from transformers.integrations.finegrained_fp8 import ALL_FP8_EXPERTS_FUNCTIONS
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
except ImportError as error:
    raise ImportError(f"ragdot.transformers needs transformers 5.8 or later, whose experts can be exchanged ({error}); "
                      "pip install 'ragdot[transformers]'") from error  # fmt: skip

from ragdot._recipes import RECIPES, Recipe, recipe_of
from ragdot.torch._dispatch import through_experts
from ragdot.torch._grouped_mm import autocast, grouped_mm
from ragdot.torch._kept import KeptWeight
from ragdot.torch._packed import is_packed
from ragdot.torch._products import multiply
from ragdot.torch._scaled import ScaledTensor, grid_of

recipes: dict[str, Recipe] = {}  # by the name of the implementation
_kept: "weakref.WeakKeyDictionary[torch.nn.Module, dict[str, KeptWeight]]" = weakref.WeakKeyDictionary()


def register(name: str, recipe: str | Recipe | None) -> None:
    """Makes `name` an implementation of experts whose products quantise by the recipe, as in grouped_mm.

    "ragdot" (None: operands as they come), "ragdot_bf16", "ragdot_channelwise", "ragdot_blockwise", "ragdot_blockwise_e8m0" and
    "ragdot_mx" are there already. Raises ValueError for a name that transformers has for an implementation of its own.
    """
    how = recipe_of("register", recipe)
    if name == "eager" or (name not in recipes and (name in ALL_EXPERTS_FUNCTIONS or name in ALL_FP8_EXPERTS_FUNCTIONS)):
        raise ValueError(f"register: {name!r} is an implementation of transformers; take another name")

    def forward(experts: torch.nn.Module, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor) -> torch.Tensor:
        return _forward(experts, how, hidden_states, top_k_index, top_k_weights)

    recipes[name] = how
    for functions in (ALL_EXPERTS_FUNCTIONS, ALL_FP8_EXPERTS_FUNCTIONS):
        type(functions).register(name, forward)


def weights_are_replaced(experts: Any) -> None:
    """By FP8 codes: no copies are kept of them, and they are no numbers."""
    experts.quantized_by_ragdot = True
    _kept.pop(experts, None)


def _forward(experts: Any, recipe: Recipe, hidden_states: torch.Tensor, top_k_index: torch.Tensor,
             top_k_weights: torch.Tensor) -> torch.Tensor:  # fmt: skip
    if getattr(experts, "activation_scheme", "dynamic") != "dynamic":
        raise NotImplementedError(f"ragdot: activation_scheme is {experts.activation_scheme!r}; activations are quantised as they come, 'dynamic'")

    def run(rows: torch.Tensor, offs: torch.Tensor) -> torch.Tensor:
        if experts.has_gate:
            rows = experts._apply_gate(_linear(experts, "gate_up_proj", rows, offs, recipe))
        else:
            rows = experts.act_fn(_linear(experts, "up_proj", rows, offs, recipe))
        rows = _linear(experts, "down_proj", rows, offs, recipe)
        return experts.post_expert_norm(rows) if getattr(experts, "has_post_expert_norm", False) else rows

    return through_experts(hidden_states, top_k_weights, top_k_index, experts.num_experts, run).to(hidden_states.dtype)


def _linear(experts: Any, name: str, rows: torch.Tensor, offs: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Rows behind the last group, which another process has the experts of, are zero."""
    weight = getattr(experts, name)
    bias = getattr(experts, f"{name}_bias") if experts.has_bias else None
    (rows,) = autocast(rows)
    if weight.element_size() == 1:
        scales, x = getattr(experts, f"{name}_scale_inv"), rows if recipe.format else rows.bfloat16()
        if is_packed(weight):
            turned = experts.is_transposed
            operand = weight, scales if turned else scales.mT, grid_of(experts.block_size if turned else experts.block_size[::-1])
            return multiply(x, None, bias, offs, recipe, rows.dtype, copies=(operand, None))
        scaled = _scaled(weight, scales, experts.block_size)
        return grouped_mm(x, scaled if experts.is_transposed else scaled.mT, offs, bias, rows.dtype, recipe=recipe)
    if getattr(experts, "quantized_by_ragdot", False):
        raise ValueError(f"ragdot: the codes of {name} became {weight.dtype}, which are no weights; quantise the model in its final dtype, and "
                         "move it by .to(device) alone")  # fmt: skip
    w = weight if experts.is_transposed else weight.mT
    if not recipe.quantizes:
        return grouped_mm(rows if recipe.format else rows.to(w.dtype), w, offs, bias, recipe=recipe)
    copies = None
    if _may_keep():
        copies = _kept.setdefault(experts, {}).setdefault(name, KeptWeight()).quantized(weight, w, recipe, rows.shape[0])
    return multiply(rows, w, bias, offs, recipe, rows.dtype, copies=copies)


def _scaled(weight: torch.Tensor, scales: torch.Tensor, block: tuple[int | None, int | None] | None) -> ScaledTensor:
    """No block: a scale for each matrix, or for gate and up in one."""
    if weight.dtype == torch.int8:
        raise NotImplementedError("ragdot: the experts' weights are int8, packed FP4, which is not offered; load the model with them dequantised")
    return ScaledTensor(weight, scales, block or (weight.shape[1] // scales.shape[1], None))


def _may_keep() -> bool:
    """Whether a weight that changes leaves a trace. One that is gathered from shards of other processes leaves none."""
    return not torch.compiler.is_compiling() and not (torch.distributed.is_available() and torch.distributed.is_initialized())


for _name, _recipe in {"": None, **{f"_{name}": name for name in RECIPES}}.items():
    register(f"ragdot{_name}", _recipe)
