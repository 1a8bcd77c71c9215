"""JAX on the CPU: jax.lax.ragged_dot, and its gradient with respect to the weights."""

import jax
import jax.numpy as jnp
import numpy as np

from peers.case import Case
from peers.contenders import Prepared


def ragged_dot(case: Case, threads: int, copies: int) -> Prepared:
    """Compiled ahead for the shapes of the case. The threads are those of the CPUs that the process may use."""
    del threads
    lhs, sizes, last = jnp.asarray(case.lhs), jnp.asarray(case.sizes.astype(np.int32)), [jnp.zeros(0)]
    turn = 0
    if case.op == "tgmm":
        rhs = [jnp.asarray(case.rhs)]
        zero = jnp.zeros(case.out_shape(), jnp.bfloat16)
        function = jax.jit(lambda x, dy: jax.vjp(lambda w: jax.lax.ragged_dot(x, w, sizes), zero)[1](dy)[0])
    else:
        rhs = [jnp.array(np.ascontiguousarray(case.inner_outer()), copy=True) for _ in range(copies)]
        function = jax.jit(lambda x, w: jax.lax.ragged_dot(x, w, sizes))

    def call() -> None:
        nonlocal turn
        turn = (turn + 1) % len(rhs)
        last[0] = function(lhs, rhs[turn]).block_until_ready()

    return Prepared(call, lambda: np.asarray(last[0]).astype(np.float32), "ragged_dot", jax.__version__)
