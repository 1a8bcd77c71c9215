"""FP8 checkpoints where there is no GPU: their experts stay FP8."""

from typing import Any

import torch
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING
from transformers.quantizers.quantizer_finegrained_fp8 import FineGrainedFP8HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from ragdot._recipes import Recipe
from ragdot.transformers._quantizer import RagdotConfig, RagdotQuantizer, check_version, describe_as, weights_of


def keep_fp8_experts() -> None:
    """From now on `from_pretrained` leaves the experts of FP8 checkpoints (`quant_method` "fp8", blocks of any size) as they are where
    transformers would dequantise them, as it does without a GPU: half of the memory, and no second rounding. The rest of the model is
    dequantised as before. Saved again, such a model is one of RagdotConfig.

    Experts whose blocks would straddle gate and up, with packed FP4 or activation scales of their own are dequantised as before, all of a
    model's. Needs transformers 5.24 or later.
    """
    check_version("keep_fp8_experts")
    AUTO_QUANTIZER_MAPPING["fp8"] = _KeepsExperts


class _KeepsExperts(FineGrainedFP8HfQuantizer):  # type: ignore[misc]
    _experts: RagdotQuantizer | None = None

    def _process_model_before_weight_loading(self, model: Any, **kwargs: Any) -> None:
        super()._process_model_before_weight_loading(model, **kwargs)
        config = self.quantization_config
        if not (self.pre_quantized and config.dequantize and config.weight_block_size):
            return
        if config.activation_scheme == "dynamic" and config.expert_dtype == "fp8" and self._fit(model):
            outer, inner = config.weight_block_size
            scales = {"scaling": "pow2", "scale_format": "e8m0"} if config.scale_fmt == "ue8m0" else {}
            self._experts = RagdotQuantizer(RagdotConfig(Recipe(block=inner, weight_block=outer, **scales)), pre_quantized=True)
            self._experts._process_model_before_weight_loading(model)

    def _process_model_after_weight_loading(self, model: torch.nn.Module, **kwargs: Any) -> torch.nn.Module:
        super()._process_model_after_weight_loading(model, **kwargs)
        if self._experts is not None:
            self._experts._process_model_after_weight_loading(model)
            describe_as(model, self._experts)
        return model

    def _fit(self, model: torch.nn.Module) -> bool:
        """Whether every weight of the experts has scales of its own in the checkpoint, which lie beside each other when weights are joined."""
        found = list(weights_of(model))
        return bool(found) and all(
            not experts.is_transposed
            and should_convert_module(path, self.modules_to_not_convert)
            and (getattr(experts, name).shape[1] // (2 if name == "gate_up_proj" else 1)) % self.quantization_config.weight_block_size[0] == 0
            for path, experts, name in found
        )
