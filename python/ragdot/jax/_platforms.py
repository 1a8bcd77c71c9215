"""What runs on CPU devices and what on CUDA devices, chosen when a program is lowered, and refusals that wait until then."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.extend
from jax.interpreters import mlir

_refused = jax.extend.core.Primitive("ragdot_refused")
_refused.multiple_results = True


def _refuse(*_: Any, sentence: str, **__: Any) -> Any:
    raise NotImplementedError(sentence)


_refused.def_impl(_refuse)
_refused.def_abstract_eval(lambda *, sentence, types: list(types))
mlir.register_lowering(_refused, _refuse)


def _refused_later(sentence: str, function: Callable[..., Any], *operands: Any) -> Any:
    """Stands for function(*operands) in a program. Lowering it raises NotImplementedError with the sentence."""
    program, shapes = jax.make_jaxpr(function, return_shape=True)(*operands)
    return jax.tree.unflatten(jax.tree.structure(shapes), _refused.bind(sentence=sentence, types=tuple(program.out_avals)))


# As one program, also where nothing around it is: outside of one, the choice would be made by jax's default device.
@partial(jax.jit, static_argnums=(0, 1, 2), inline=True)
def by_platform(cpu: Callable[..., Any], cuda: Callable[..., Any], choices: tuple[Any, ...], *operands: Any) -> Any:
    """cpu(*choices, *operands) or cuda(*choices, *operands), by the platform of the program. Both are traced, so they return equal
    types; what the library refuses of cuda is an error (NotImplementedError) of programs for CUDA devices alone."""

    def on_cpu(*operands: Any) -> Any:
        return cpu(*choices, *operands)

    def on_cuda(*operands: Any) -> Any:
        try:
            return cuda(*choices, *operands)
        except (NotImplementedError, ValueError) as refusal:
            return _refused_later(str(refusal), on_cpu, *operands)

    return jax.lax.platform_dependent(*operands, cpu=on_cpu, cuda=on_cuda)
