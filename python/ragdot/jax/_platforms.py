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


# As one program, also where nothing around it is: outside of one, the choice would be made by jax's default device.
@partial(jax.jit, static_argnums=(0, 1, 2), inline=True)
def by_platform(cpu: Callable[..., Any], cuda: Callable[..., Any], choices: tuple[Any, ...], *operands: Any) -> Any:
    """cpu(*choices, *operands) or cuda(*choices, *operands), by the platform of the program. Both are traced, so they return equal
    types; what the library refuses of cuda is an error (NotImplementedError) of programs for CUDA devices alone, as any program for other
    devices is one."""

    types: list[Any] = []  # of the results, as a tree

    def on_cpu(*operands: Any) -> Any:
        results = cpu(*choices, *operands)
        types[:] = [jax.tree.map(jax.typeof, results)]
        return results

    def on_cuda(*operands: Any) -> Any:
        try:
            return cuda(*choices, *operands)
        except (NotImplementedError, ValueError) as refusal:
            return refused(str(refusal), *operands)

    def elsewhere(*operands: Any) -> Any:
        return refused("ragdot.jax is offered on CPU and CUDA devices; place operands and program there", *operands)

    def refused(sentence: str, *operands: Any) -> Any:
        """Stands for the results in a program. Lowering it raises NotImplementedError with the sentence."""
        if not types:
            jax.eval_shape(on_cpu, *operands)
        leaves, tree = jax.tree.flatten(types[0])
        return jax.tree.unflatten(tree, _refused.bind(sentence=sentence, types=tuple(leaves)))

    return jax.lax.platform_dependent(*operands, cpu=on_cpu, cuda=on_cuda, default=elsewhere)
