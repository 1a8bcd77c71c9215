"""Experts of Hugging Face transformers: once this is imported, `model.set_experts_implementation("ragdot_blockwise")` takes effect."""

import weakref
from typing import Any

import torch
from torch.nn.utils import parametrize

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
from ragdot.torch._packed import COLUMNS, is_packed, pack
from ragdot.torch._products import multiply
from ragdot.torch._scaled import ScaledTensor, grid_of, quantize

# By the name of the implementation.
_recipes: dict[str, Recipe] = {}
_kept: "weakref.WeakKeyDictionary[torch.nn.Module, dict[str, KeptWeight]]" = weakref.WeakKeyDictionary()


def register(name: str, recipe: str | Recipe | None) -> None:
    """Makes `name` an implementation of experts whose products quantise by the recipe, as in grouped_mm.

    "ragdot" (None: operands as they come), "ragdot_bf16", "ragdot_channelwise", "ragdot_blockwise", "ragdot_blockwise_e8m0" and
    "ragdot_mx" are there already. Raises ValueError for a name that transformers has for an implementation of its own.
    """
    how = recipe_of("register", recipe)
    if name == "eager" or (name not in _recipes and (name in ALL_EXPERTS_FUNCTIONS or name in ALL_FP8_EXPERTS_FUNCTIONS)):
        raise ValueError(f"register: {name!r} is an implementation of transformers; take another name")

    def forward(experts: torch.nn.Module, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor) -> torch.Tensor:
        return _forward(experts, how, hidden_states, top_k_index, top_k_weights)

    _recipes[name] = how
    for functions in (ALL_EXPERTS_FUNCTIONS, ALL_FP8_EXPERTS_FUNCTIONS):
        type(functions).register(name, forward)


def quantize_experts(model: torch.nn.Module, packed: bool = True) -> int:
    """Leaves the model's experts FP8 weights alone, quantised by the recipe of the implementation that is set: a quarter of float32's
    memory, half of bfloat16's, and the same results. For serving, and for training what lies around them: the weights get no gradients.

    A weight [E, N, K] becomes a parameter of codes and beside it, with `_scale_inv` behind its name, one of scales, as FP8 checkpoints
    have them; `block_size` says how many rows and columns share a scale. Only ragdot's implementations take such experts. Move them to no
    other dtype, and save the model before: save_pretrained raises afterwards.

    packed: on a CPU, codes of N a multiple of 32 lie as products read them fastest, [E, N / 32, K, 32]. False leaves them their shape: for
        a model that will be moved to a GPU, and where gradients go through the experts, which unpack them for it each time.

    Returns how many weights it quantised. Raises ValueError, and changes nothing, for a model without such experts, where the
    implementation quantises nothing and for parametrised weights.
    """
    found, forms = [], 0
    for path, experts in model.named_modules():
        if not (hasattr(experts, "is_transposed") and hasattr(experts, "down_proj")):
            continue
        forms += 1
        name = experts.config._experts_implementation
        recipe = _recipes.get(name)
        if recipe is None or not recipe.quantizes:
            raise ValueError(f"quantize_experts: {path} has the implementation {name!r}, which quantises no weights; call "
                             'model.set_experts_implementation("ragdot_blockwise") first')  # fmt: skip
        for weight in ("gate_up_proj" if experts.has_gate else "up_proj", "down_proj"):
            if parametrize.is_parametrized(experts, weight):
                raise ValueError(f"quantize_experts: {path}.{weight} is parametrised; remove or merge what computes it first")
            if getattr(experts, weight).element_size() > 1:
                found.append((experts, weight, recipe))
    if forms == 0:
        raise ValueError("quantize_experts: the model has no experts of transformers; for layers of ragdot.torch "
                         "QuantizedGroupedLinear.from_linear is the way")  # fmt: skip
    for experts, weight, recipe in found:
        _quantize(experts, weight, recipe, packed)
    if hasattr(model, "save_pretrained"):
        model.save_pretrained = _not_saved  # type: ignore[assignment]
    return len(found)


def _not_saved(*_: Any, **__: Any) -> None:
    raise NotImplementedError("save_pretrained: quantize_experts left FP8 codes, which would load as numbers without scales; save the model before, "
                              "or keep its state_dict() by torch.save")  # fmt: skip


def _quantize(experts: Any, name: str, recipe: Recipe, packed: bool) -> None:
    experts.block_size = recipe.weights if experts.is_transposed else recipe.weights[::-1]
    codes = quantize(getattr(experts, name).detach(), experts.block_size, recipe.format, recipe.scaling, recipe.scale_format)  # type: ignore[arg-type]
    values = codes.values
    if packed and values.device.type == "cpu" and values.shape[2 if experts.is_transposed else 1] % COLUMNS == 0:
        values = pack(values if experts.is_transposed else values.mT)
    setattr(experts, name, torch.nn.Parameter(values, requires_grad=False))
    setattr(experts, f"{name}_scale_inv", torch.nn.Parameter(codes.scales, requires_grad=False))
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
