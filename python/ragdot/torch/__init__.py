"""ragdot for PyTorch: grouped_mm with gradients, FP8 recipes and torch.compile, and Mixture-of-Experts modules (docs/torch.md)."""

from ragdot._recipes import Recipe
from ragdot.torch._grouped_mm import grouped_mm
from ragdot.torch._linear import GroupedLinear
from ragdot.torch._moe import MoE
from ragdot.torch._quantized import QuantizedGroupedLinear
from ragdot.torch._scaled import ScaledTensor, quantize

__all__ = ["GroupedLinear", "MoE", "QuantizedGroupedLinear", "Recipe", "ScaledTensor", "grouped_mm", "quantize"]
