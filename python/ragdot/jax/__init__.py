"""ragdot in JAX: ragged_dot with FP8 recipes and gradients, and the products on ScaledArrays; on CPU devices (docs/jax.md)."""

from ragdot._recipes import Recipe
from ragdot._scaled import ScaledArray
from ragdot.jax._products import gmm, tgmm
from ragdot.jax._quantize import quantize, quantize_both
from ragdot.jax._ragged_dot import ragged_dot

__all__ = ["Recipe", "ScaledArray", "gmm", "quantize", "quantize_both", "ragged_dot", "tgmm"]
