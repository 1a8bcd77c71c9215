"""Grouped ("ragged") matrix multiplication with block-scaled FP8, on arrays of numpy and ml_dtypes.

gmm (forward), dlhs (input gradient) and tgmm (weight gradient) of Mixture-of-Experts layers; quantisers; plans for repeated calls.
docs/python.md is the guide; docs/numerics.md says which bits come out.
"""

from ragdot._groups import Groups
from ragdot._library import LIBRARY
from ragdot._machine import info
from ragdot._packing import PackedWeights, pack
from ragdot._plans import Plan, plan
from ragdot._products import ExactAndBound, dlhs, error_bound, gmm, tgmm
from ragdot._quantisers import dequantize, quantize, quantize_both, requantize, to_e8m0
from ragdot._scaled import ScaledArray

__version__: str = LIBRARY.ragdot_version().decode()

__all__ = [
    "ExactAndBound",
    "Groups",
    "PackedWeights",
    "Plan",
    "ScaledArray",
    "dequantize",
    "dlhs",
    "error_bound",
    "gmm",
    "info",
    "pack",
    "plan",
    "quantize",
    "quantize_both",
    "requantize",
    "tgmm",
    "to_e8m0",
]
