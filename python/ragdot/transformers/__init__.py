"""Experts of Hugging Face transformers: once this is imported, `model.set_experts_implementation("ragdot_blockwise")` takes effect, and
`from_pretrained(..., quantization_config=RagdotConfig())` loads a model whose experts are FP8."""

from ragdot.transformers._checkpoints import keep_fp8_experts
from ragdot.transformers._experts import register
from ragdot.transformers._quantizer import RagdotConfig, quantize_experts

__all__ = ["RagdotConfig", "keep_fp8_experts", "quantize_experts", "register"]
