"""The list of contenders. Each is a function case, threads, copies -> Prepared in a module that only its own process imports."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Contender:
    """`name` and `recipe` are those of its rows; `entry` is MODULE:FUNCTION; `operands` a key of peers.problems.OPERANDS."""

    name: str
    recipe: str
    entry: str
    operands: str
    ops: tuple[str, ...] = ("gmm", "dlhs", "tgmm")
    rounded_weights: float = 0.0  # part of a weight by which it may be rounded before it is multiplied

    @property
    def is_library(self) -> bool:
        return self.name == "ragdot"

    @property
    def label(self) -> str:
        return f"ragdot {self.recipe}" if self.is_library else self.name


@dataclass
class Prepared:
    """A product ready to be called again and again; everything that a user does once is done."""

    call: Callable[[], None]
    result: Callable[[], np.ndarray]  # of the last call, f32, in the shape of Case.out_shape()
    kernel: str  # what the contender calls the code that runs
    version: str


CONTENDERS = (
    Contender("ragdot", "bf16", "peers.contenders.ragdot_library:product", "bf16"),
    Contender("ragdot", "blockwise", "peers.contenders.ragdot_library:product", "blockwise"),
    Contender("torch_loop", "bf16", "peers.contenders.torch_cpu:loop", "bf16"),
    Contender("torch_grouped_mm", "bf16", "peers.contenders.torch_cpu:grouped_mm", "bf16"),
    # It decodes weights to bf16 with their scale applied or not, depending on M.
    Contender("vllm_fp8", "weights_blockwise", "peers.contenders.vllm_cpu:scaled_mm", "weights_blockwise", ("gmm", "dlhs"), 2.0**-8),
    Contender("jax_ragged_dot", "bf16", "peers.contenders.jax_cpu:ragged_dot", "bf16"),
)
