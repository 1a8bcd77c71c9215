"""Trains a small language model with a Mixture-of-Experts layer on this project's text, in bf16 and in FP8, and draws the losses.

    python examples/jax_moe.py                       # 300 steps, three seeds, bf16 and blockwise FP8
    python examples/jax_moe.py --recipes bf16 mx --picture losses.svg
"""  # fmt: skip

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from losses import compare, text

from ragdot.jax import ragged_dot

CONTEXT, BATCH, MODEL, HEADS, HIDDEN, EXPERTS, TOP = 64, 16, 128, 4, 256, 8, 2
RATE, DECAY, FIRST, SECOND, TINY = 2e-3, 0.01, 0.9, 0.999, 1e-8
Tree = dict[str, jax.Array]


def new_model(key: jax.Array) -> Tree:
    """Float32 master weights."""
    shapes = {"bytes": (256, MODEL), "places": (CONTEXT, MODEL), "qkv": (MODEL, 3 * MODEL), "mix": (MODEL, MODEL), "router": (MODEL, EXPERTS),
              "gate": (EXPERTS, MODEL, HIDDEN), "up": (EXPERTS, MODEL, HIDDEN), "down": (EXPERTS, HIDDEN, MODEL), "logits": (MODEL, 256)}  # fmt: skip
    keys = jax.random.split(key, len(shapes))
    return {name: jax.random.normal(k, shape) * shape[-2] ** -0.5 for k, (name, shape) in zip(keys, shapes.items())}


def norm(x: jax.Array) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)


def dense(x: jax.Array, w: jax.Array) -> jax.Array:
    return jnp.matmul(x.astype(jnp.bfloat16), w.astype(jnp.bfloat16), preferred_element_type=jnp.float32)


def attention(model: Tree, x: jax.Array) -> jax.Array:
    q, k, v = (z.reshape(BATCH, CONTEXT, HEADS, -1) for z in jnp.split(dense(x, model["qkv"]), 3, -1))
    return dense(jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(BATCH, CONTEXT, MODEL), model["mix"])


def experts(model: Tree, x: jax.Array, recipe: str) -> jax.Array:
    """Each token goes through its TOP experts. Tokens are sorted by expert, so that ragged_dot sees each expert's rows together."""
    tokens = x.reshape(-1, MODEL)
    weights, chosen = jax.lax.top_k(jax.nn.softmax(tokens @ model["router"]), TOP)
    order = jnp.argsort(chosen.reshape(-1), stable=True)
    sizes = jnp.bincount(chosen.reshape(-1), length=EXPERTS).astype(jnp.int32)
    rows = tokens[order // TOP]
    product = partial(ragged_dot, group_sizes=sizes, preferred_element_type=jnp.float32, recipe=recipe)
    hidden = jax.nn.silu(product(rows, model["gate"])) * product(rows, model["up"])
    results = product(hidden, model["down"])[jnp.argsort(order)].reshape(-1, TOP, MODEL)
    return jnp.einsum("tkm,tk->tm", results, weights / weights.sum(-1, keepdims=True)).reshape(x.shape)


def loss_of(model: Tree, window: jax.Array, recipe: str) -> jax.Array:
    """Mean cross entropy of the next byte."""
    x = model["bytes"][window[:, :-1]] + model["places"]
    x = x + attention(model, norm(x))
    x = x + experts(model, norm(x), recipe)
    logs = jax.nn.log_softmax(dense(norm(x), model["logits"]))
    return -jnp.mean(jnp.take_along_axis(logs, window[:, 1:, None], -1))


@partial(jax.jit, static_argnames="recipe", donate_argnums=0)
def step(state: Any, data: jax.Array, key: jax.Array, recipe: str) -> tuple[Any, jax.Array]:
    """One step of AdamW."""
    model, means, squares, count = state
    starts = jax.random.randint(key, (BATCH, 1), 0, len(data) - CONTEXT - 1)
    loss, grads = jax.value_and_grad(loss_of)(model, data[starts + jnp.arange(CONTEXT + 1)].astype(jnp.int32), recipe)
    count = count + 1
    means = jax.tree.map(lambda m, g: FIRST * m + (1 - FIRST) * g, means, grads)
    squares = jax.tree.map(lambda s, g: SECOND * s + (1 - SECOND) * g * g, squares, grads)

    def moved(w: jax.Array, m: jax.Array, s: jax.Array) -> jax.Array:
        slope = (m / (1 - FIRST**count)) / (jnp.sqrt(s / (1 - SECOND**count)) + TINY)
        return w - RATE * (slope + DECAY * w)

    return (jax.tree.map(moved, model, means, squares), means, squares, count), loss


def train(recipe: str, seed: int, steps: int, data: jax.Array) -> list[float]:
    """The loss of every step. Seeds decide weights and batches, which all recipes share."""
    first, *keys = jax.random.split(jax.random.key(seed), steps + 1)
    model = new_model(first)
    state = (model, jax.tree.map(jnp.zeros_like, model), jax.tree.map(jnp.zeros_like, model), jnp.float32(0))
    losses = []
    for key in keys:
        state, loss = step(state, data, key, recipe)
        losses.append(float(loss))
    return losses


def main() -> None:
    compare(train, jnp.frombuffer(text(), dtype=jnp.uint8), f"JAX, {EXPERTS} experts", "jax_moe.svg")


if __name__ == "__main__":
    main()
