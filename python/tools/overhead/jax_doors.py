"""The same call from JAX: one jitted program that holds nothing else, beside the smallest program there is."""

import functools
import importlib.util
import sys
from collections.abc import Iterator

from overhead.doors import Door, Operands, repeated


def jax_doors(given: Operands) -> Iterator[Door]:
    """None, with a word, where JAX is not installed."""
    if importlib.util.find_spec("jax") is None:
        print("no rows for JAX, which is not installed: pip install .[jax]", file=sys.stderr)
        return
    import jax
    import jax.numpy as jnp

    import ragdot.jax

    lhs, rhs, sizes = jax.tree.map(jnp.asarray, (given.lhs, given.rhs, given.sizes))
    gmm, least = jax.jit(functools.partial(ragdot.jax.gmm, threads=given.threads)), jax.jit(lambda x: x + 1)
    yield Door("JAX jit", "C, at once", repeated(lambda: gmm(lhs, rhs, sizes).block_until_ready()))
    yield Door("JAX jit, x + 1", "", repeated(lambda: least(sizes).block_until_ready()))
