"""Experts that hold FP8 codes and scales alone: quantised in a model, while it is loaded, or as a checkpoint has them."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
import transformers
from packaging.version import Version
from torch.nn.utils import parametrize
from transformers.core_model_loading import ConversionOps
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from ragdot._recipes import RECIPES, Recipe, recipe_of
from ragdot.torch._packed import COLUMNS, empty_unpacked, is_packed, pack, unpack
from ragdot.torch._scaled import quantize
from ragdot.transformers._experts import recipes, register, weights_are_replaced

SAVES = Version(transformers.__version__) >= Version("5.24")
_METHOD = "ragdot"
_SCALES = "_scale_inv"  # behind the name of a weight, as in FP8 checkpoints


@register_quantization_config(_METHOD)
class RagdotConfig(QuantizationConfigMixin):  # type: ignore[misc]
    """`quantization_config` of models whose experts are FP8: `from_pretrained(path, quantization_config=RagdotConfig())` quantises each
    weight of the experts as it is read, so that they never lie in memory whole in another type. What lies around them keeps its dtype.

    `save_pretrained` writes codes and scales, and this into config.json: where ragdot.transformers is imported, from_pretrained loads such a
    directory as it is.

    recipe: a name ("blockwise", ...) or a ragdot.torch.Recipe that quantises. Experts run by it, unless `experts_implementation` names
        another of ragdot's.
    packed: as in quantize_experts. Of memory alone: files hold weights in their own shape.

    Needs transformers 5.24 or later.
    """

    def __init__(self, recipe: str | Recipe | dict[str, Any] = "blockwise", packed: bool = True, quant_method: str = _METHOD) -> None:
        check_version("RagdotConfig")
        self.quant_method: Any = quant_method
        self.recipe: str | Recipe = Recipe(**recipe) if isinstance(recipe, dict) else recipe
        self.packed = packed
        if not recipe_of("RagdotConfig", self.recipe).quantizes:
            raise ValueError(f"RagdotConfig: recipe is {recipe!r}, which quantises no weights; give blockwise or another FP8 recipe")

    def to_dict(self) -> dict[str, Any]:
        """What config.json says."""
        recipe: Any = asdict(self.recipe) if isinstance(self.recipe, Recipe) else self.recipe
        return {"quant_method": self.quant_method, "recipe": recipe, "packed": self.packed}


def check_version(what: str) -> None:
    """Raises where transformers does not tell the scales of a checkpoint from the weights whose names they begin with."""
    if not SAVES:
        raise NotImplementedError(f"{what}: transformers is {transformers.__version__}; it needs 5.24 or later")


@register_quantizer(_METHOD)
class RagdotQuantizer(HfQuantizer):  # type: ignore[misc]
    """What transformers asks about such a model while it loads and saves it."""

    quantization_config: RagdotConfig
    _shapes: list[tuple[Any, str, torch.Size]]  # of what is being loaded

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
        recipe = recipe_of("RagdotConfig", self.quantization_config.recipe)
        if getattr(model.config, "_experts_implementation", None) not in recipes:
            model.set_experts_implementation(_implementation_of(recipe))
        self._shapes = []
        for _path, experts, name in weights_of(model):
            self._shapes.append((experts, name, getattr(experts, name).shape))
            _replace(experts, name, recipe)

    def param_needs_quantization(self, model: torch.nn.Module, param_name: str, **_: Any) -> bool:
        """Whether it is a weight of experts: transformers quantises those of other checkpoints, and compares no shapes of any."""
        path, name = param_name.rpartition(".")[::2]
        return any(name == weight for *_, weight in weights_of(model.get_submodule(path)))

    def get_quantize_ops(self) -> ConversionOps:
        """From a weight as it was read to its codes and scales."""
        return _Quantize(recipe_of("RagdotConfig", self.quantization_config.recipe))

    def _process_model_after_weight_loading(self, model: torch.nn.Module, **_: Any) -> None:
        for experts, name, shape in self._shapes:
            for parameter in (name, name + _SCALES):
                getattr(experts, parameter).requires_grad_(False)
            found = getattr(experts, name)
            if is_packed(found):  # saved by a model around the one that was quantised, which knows of no packing
                found = empty_unpacked(found.to("meta"))
                found = found if experts.is_transposed else found.mT
            if found.shape != shape:
                raise ValueError(f"from_pretrained: {name} of the experts is {list(found.shape)} in the checkpoint and {list(shape)} in the model")
            if self.quantization_config.packed:
                _pack(experts, name)
        self._shapes = []

    def get_state_dict_and_metadata(self, model: torch.nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """Codes in the shape of their weights, whatever lies in memory."""
        state = model.state_dict()
        for path, experts, name in weights_of(model):
            if is_packed(getattr(experts, name)):
                weights = unpack(getattr(experts, name).detach())
                state[f"{path}.{name}"] = weights if experts.is_transposed else weights.mT.contiguous()
        return state, {}

    def is_serializable(self) -> bool:
        """By save_pretrained."""
        return True

    @property
    def is_trainable(self) -> bool:
        """What lies around the experts, by adapters."""
        return True

    @property
    def is_compileable(self) -> bool:
        """By torch.compile."""
        return True


class _Quantize(ConversionOps):  # type: ignore[misc]
    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def convert(self, input_dict: dict[str, Any], *_: Any, **context: Any) -> dict[str, Any]:
        model, made = context["model"], {}
        for key, value in input_dict.items():
            path = key.rpartition(".")[0]
            weight = value[0] if isinstance(value, list) else value
            made[key], made[key + _SCALES] = _quantized(model.get_submodule(path), weight, self.recipe)
        return made


def quantize_experts(model: torch.nn.Module, packed: bool = True) -> int:
    """Leaves the model's experts FP8 weights alone, quantised by the recipe of the implementation that is set: a quarter of float32's
    memory, half of bfloat16's, and the same results. For serving, and for training what lies around them: the weights get no gradients.

    A weight [E, N, K] becomes a parameter of codes and beside it, with `_scale_inv` behind its name, one of scales, as FP8 checkpoints
    have them; `block_size` says how many rows and columns share a scale. Only ragdot's implementations take such experts. Move them to no
    other dtype. save_pretrained writes them, and from_pretrained loads them again where ragdot.transformers is imported.

    packed: on a CPU, codes of N a multiple of 32 lie as products read them fastest, [E, N / 32, K, 32]. False leaves them their shape: for
        a model that will be moved to a GPU, and where gradients go through the experts, which unpack them for it each time.

    Returns how many weights it quantised. Raises ValueError, and changes nothing, for a model without such experts, where the
    implementation quantises nothing and for parametrised weights.
    """
    weights, found = list(weights_of(model)), []
    if not weights:
        raise ValueError("quantize_experts: the model has no experts of transformers; for layers of ragdot.torch "
                         "QuantizedGroupedLinear.from_linear is the way")  # fmt: skip
    for path, experts, weight in weights:
        name = experts.config._experts_implementation
        recipe = recipes.get(name)
        if recipe is None or not recipe.quantizes:
            raise ValueError(f"quantize_experts: {path} has the implementation {name!r}, which quantises no weights; call "
                             'model.set_experts_implementation("ragdot_blockwise") first')  # fmt: skip
        if parametrize.is_parametrized(experts, weight):
            raise ValueError(f"quantize_experts: {path}.{weight} is parametrised; remove or merge what computes it first")
        if getattr(experts, weight).element_size() > 1:
            found.append((experts, weight, recipe))
    for experts, weight, recipe in found:
        _replace(experts, weight, recipe)
        if packed:
            _pack(experts, weight)
    if found and hasattr(model, "save_pretrained"):
        _describe(model, [recipe for _, _, recipe in found], packed)
    return len(found)


def _describe(model: Any, used: list[Recipe], packed: bool) -> None:
    """Has the model's config say how it is quantised, so that it can be saved; where no config can say it, save_pretrained refuses."""
    if not SAVES or any(recipe != used[0] for recipe in used) or getattr(model, "hf_quantizer", None) is not None:
        model.save_pretrained = _not_saved
        return
    names = {recipe: name for name, recipe in RECIPES.items()}
    describe_as(model, RagdotQuantizer(RagdotConfig(names.get(used[0], used[0]), packed), pre_quantized=True))


def describe_as(model: Any, quantizer: RagdotQuantizer) -> None:
    """As one that was loaded with it."""
    model.hf_quantizer = quantizer
    model.config.quantization_config = quantizer.quantization_config


def _not_saved(*_: Any, **__: Any) -> None:
    raise NotImplementedError("save_pretrained: the experts are FP8 by several recipes, or another method has quantised the model as well, or "
                              "transformers is older than 5.24; keep the state_dict() by torch.save")  # fmt: skip


def weights_of(model: torch.nn.Module) -> Iterator[tuple[str, Any, str]]:
    """The paths of transformers' experts, themselves, and the names of their weights."""
    for path, experts in model.named_modules():
        if hasattr(experts, "is_transposed") and hasattr(experts, "down_proj"):
            yield path, experts, "gate_up_proj" if experts.has_gate else "up_proj"
            yield path, experts, "down_proj"


def _implementation_of(recipe: Recipe) -> str:
    """The name of an implementation by this recipe, which need not be there yet."""
    for name, known in recipes.items():
        if known == recipe:
            return name
    name = f"ragdot_{'_'.join(str(value) for value in asdict(recipe).values())}"
    register(name, recipe)
    return name


def _quantized(experts: Any, weight: torch.Tensor, recipe: Recipe) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and scales in the blocks of these experts."""
    codes = quantize(weight.detach(), experts.block_size, recipe.format, recipe.scaling, recipe.scale_format)  # type: ignore[arg-type]
    return codes.values, codes.scales


def _replace(experts: Any, name: str, recipe: Recipe) -> None:
    """A weight by its codes and scales, without memory where it has none yet."""
    experts.block_size = recipe.weights if experts.is_transposed else recipe.weights[::-1]
    values, scales = _quantized(experts, getattr(experts, name), recipe)
    setattr(experts, name, torch.nn.Parameter(values, requires_grad=False))
    setattr(experts, name + _SCALES, torch.nn.Parameter(scales, requires_grad=False))
    weights_are_replaced(experts)


def _pack(experts: Any, name: str) -> None:
    """Codes that lie on a CPU, where products take them so."""
    values = getattr(experts, name).detach()
    if values.device.type == "cpu" and not is_packed(values) and values.shape[2 if experts.is_transposed else 1] % COLUMNS == 0:
        packed = pack(values if experts.is_transposed else values.mT)
        setattr(experts, name, torch.nn.Parameter(packed, requires_grad=False))
