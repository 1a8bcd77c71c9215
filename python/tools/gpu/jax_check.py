"""Checks ragdot.jax on the GPU at hand: python3 python/tools/gpu/jax_check.py. Prints a table, ends with 1 where a check fails.

RAGDOT_LIBRARY names libragdot.so, beside which libragdot_jax.so and libragdot_cuda.so lie; python/ is on PYTHONPATH; jax is that of the GPU
(jax[cuda13]). Takes less than 30 s. docs/jax.md. It has been run on CPU devices alone, where it compares them with themselves.
"""

import os
import sys
import time
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
from checks import Failed, run

import ragdot.jax as rj
from ragdot._library import LIBRARY

GPU, CPU = "gpu", "cpu"
BF16, F32 = jnp.bfloat16, jnp.float32
CASES = [  # sizes of groups, rows behind them, K, N
    ([0, 5, 0], 11, 16, 16),
    ([70, 0, 59, 1, 40], 6, 144, 208),
    ([300, 1, 0, 511, 212], 0, 512, 384),
]
# Distances in the Frobenius norm: from float64 of the same numbers, from a CPU device's results.
ALLOWED = {"bf16": (0.006, 0.004), "blockwise": (0.06, 0.01)}


def expect(holds: Any, what: str) -> None:
    if not holds:
        raise Failed(what)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(BF16)


def put(where: str, *arrays: Any) -> list[jax.Array]:
    return [jax.device_put(x, jax.devices(where)[0]) for x in arrays]


def step(recipe: Any, lhs: Any, rhs: Any, dy: Any, sizes: Any, offset: Any = None) -> tuple[Any, ...]:
    """Result, and gradients of lhs and rhs."""
    out, back = jax.vjp(lambda lhs, rhs: rj.ragged_dot(lhs, rhs, sizes, group_offset=offset, recipe=recipe), lhs, rhs)
    return out, *back(dy)


JITTED = jax.jit(step, static_argnums=0)


def problem(case: tuple, dtype: Any = BF16) -> tuple[list[np.ndarray], np.ndarray]:
    """lhs, rhs and dy of the type, in which rows behind the groups are NaN; sizes."""
    sizes, behind, k, n = case
    m = sum(sizes)
    arrays = [normal(m + behind, k), normal(len(sizes), k, n, seed=1), normal(m + behind, n, seed=2)]
    arrays[0][m:] = arrays[2][m:] = np.nan
    return [x.astype(dtype) for x in arrays], np.array(sizes, np.int32)


def exact(arrays: list[np.ndarray], sizes: np.ndarray) -> list[np.ndarray]:
    """What step computes, in float64."""
    lhs, rhs, dy = (x.astype(np.float64) for x in arrays)
    out, dlhs, drhs = np.zeros(dy.shape), np.zeros(lhs.shape), np.zeros(rhs.shape)
    for g, (end, size) in enumerate(zip(np.cumsum(sizes), sizes)):
        rows = slice(end - size, end)
        out[rows], dlhs[rows], drhs[g] = lhs[rows] @ rhs[g], dy[rows] @ rhs[g].T, lhs[rows].T @ dy[rows]
    return [out, dlhs, drhs]


def distance(found: Any, wanted: Any) -> float:
    found, wanted = (np.asarray(x).astype(np.float64) for x in (found, wanted))
    expect(np.isfinite(found).all(), "a result is not finite")
    return float(np.linalg.norm(found - wanted) / max(np.linalg.norm(wanted), 1e-30))


def same(found: Any, wanted: Any) -> bool:
    return all(np.array_equal(np.asarray(a).view(np.uint8), np.asarray(b).view(np.uint8)) for a, b in zip(found, wanted))


def check_steps() -> str:
    """Results and gradients beside float64 and beside a CPU device."""
    worst = dict.fromkeys(ALLOWED, 0.0)
    for case in CASES:
        for dtype in (BF16, F32):
            arrays, sizes = problem(case, dtype)
            wanted, used = exact(arrays, sizes), sum(case[0])
            for recipe, allowed in ALLOWED.items():
                found, on_cpu = (JITTED(recipe, *put(where, *arrays, sizes)) for where in (GPU, CPU))
                for name, a, b, c in zip(("out", "dlhs", "drhs"), found, wanted, on_cpu):
                    where = f"{recipe} {np.dtype(dtype)} {case}: {name}"
                    expect(a.dtype == dtype, f"{where} is {a.dtype}")
                    for what, error, limit in (("float64", distance(a, b), allowed[0]), ("the CPU", distance(a, c), allowed[1])):
                        expect(error < limit, f"{where} is {error:.4f} off {what}")
                        worst[recipe] = max(worst[recipe], error)
                expect(not np.asarray(found[0])[used:].any() and not np.asarray(found[1])[used:].any(), f"{recipe} {case}: rows behind the groups")
                expect(not np.asarray(found[2])[sizes == 0].any(), f"{recipe} {case}: empty groups")
    return ", ".join(f"{recipe} {error:.4f} off" for recipe, error in worst.items()) + " (Frobenius norm)"


def check_local_groups() -> str:
    """Some of the groups, from an offset that is data."""
    (lhs, rhs, dy), sizes = problem(CASES[2])
    for recipe, (_, limit) in ALLOWED.items():
        for first in (0, 2, 3):
            arrays = lhs, rhs[first : first + 2], dy, sizes, np.int32(first)
            for a, b in zip(*(JITTED(recipe, *put(where, *arrays)) for where in (GPU, CPU))):
                error = distance(a, b)
                expect(error < limit, f"{recipe}, groups from {first}: {error:.4f} off the CPU")
    return "two of five groups, from three offsets"


def check_transforms() -> str:
    """Eager, vmap, scan and checkpoint give the bits of one jitted call, again and again."""
    (lhs, rhs, dy), sizes = problem(CASES[1])
    for recipe in ALLOWED:
        operands = put(GPU, lhs, rhs, dy, sizes)
        wanted = JITTED(recipe, *operands)
        expect(all(same(JITTED(recipe, *operands), wanted) for _ in range(20)), f"{recipe}: other bits in another call")
        expect(same(step(recipe, *operands), wanted), f"{recipe}: other bits without jit")
        x, w, ct, ends = operands

        def each(x: Any, ct: Any, recipe: str = recipe, w: Any = w, ends: Any = ends) -> Any:
            return step(recipe, x, w, ct, ends)

        many = jax.jit(jax.vmap(each))(jnp.stack([x, x]), jnp.stack([ct, ct]))
        expect(same([part[1] for part in many], wanted), f"{recipe}: other bits under vmap")

        def body(carry: Any, ct: Any, recipe: str = recipe, x: Any = x, w: Any = w, ends: Any = ends) -> tuple[Any, Any]:
            product = jax.checkpoint(lambda x, w: rj.ragged_dot(x, w, ends, recipe=recipe))
            out, back = jax.vjp(product, x, w)
            return carry, (out, *back(ct))

        scanned = jax.jit(lambda cts: jax.lax.scan(body, 0, cts)[1])(jnp.stack([ct, ct]))
        expect(same([part[1] for part in scanned], wanted), f"{recipe}: other bits in a scan with checkpoint")
    return "20 calls, eager, vmap, scan with checkpoint: the same bits"


def check_wrong_sizes() -> str:
    """Sizes that break the rules are clamped: no error, nothing outside is touched, the next call is right."""
    (lhs, rhs, dy), sizes = problem(CASES[2])
    for recipe in ALLOWED:
        operands = put(GPU, lhs, rhs, dy, sizes)
        wanted = JITTED(recipe, *operands)
        for wrong in ([5000, 1, 2, 3, 4], [-7, 5, 5, 5, 5], [2**30] * 5):
            jax.block_until_ready(JITTED(recipe, *operands[:3], *put(GPU, np.array(wrong, np.int32))))
        expect(same(JITTED(recipe, *operands), wanted), f"{recipe}: other bits after wrong sizes")
    return "three kinds"


def check_errors() -> str:
    (lhs, rhs, dy), sizes = problem(CASES[2])
    cases = [
        ("on the GPU it is 1x128", lambda: JITTED("channelwise", *put(GPU, lhs, rhs, dy, sizes))),
        ("scales are e8m0", lambda: JITTED("mx", *put(GPU, lhs, rhs, dy, sizes))),
        ("out is f16", lambda: rj.ragged_dot(*put(GPU, lhs, rhs, sizes), preferred_element_type=jnp.float16)),
        ("pad the lines", lambda: JITTED("blockwise", *put(GPU, lhs[:1001], rhs, dy[:1001], sizes))),
    ]
    for sentence, call in cases:
        try:
            jax.block_until_ready(call())
        except NotImplementedError as error:
            expect(sentence in str(error), f"it says {error}, not {sentence}")
        else:
            raise Failed(f"no NotImplementedError: {sentence}")
    return f"{len(cases)} refused by their sentences"


def check_time() -> str:
    """Not a bar: what a step takes beside jax.lax.ragged_dot's."""
    sizes, k, n = [1024] * 8, 2048, 2048
    operands = put(GPU, normal(sum(sizes), k), normal(len(sizes), k, n, seed=1), normal(sum(sizes), n, seed=2), np.array(sizes, np.int32))

    def theirs(lhs: Any, rhs: Any, dy: Any, sizes: Any) -> Any:
        out, back = jax.vjp(lambda lhs, rhs: jax.lax.ragged_dot(lhs, rhs, sizes), lhs, rhs)
        return out, *back(dy)

    times = {}
    for name, call in (("FP8", lambda *x: JITTED("blockwise", *x)), ("bf16", lambda *x: JITTED("bf16", *x)), ("jax.lax bf16", jax.jit(theirs))):
        for _ in range(3):
            jax.block_until_ready(call(*operands))
        start = time.perf_counter()
        for _ in range(20):
            out = call(*operands)
        jax.block_until_ready(out)
        times[name] = (time.perf_counter() - start) / 20 * 1e3
    return f"8 x 1024 x {k} x {n}, a step: " + ", ".join(f"{name} {t:.3f} ms" for name, t in times.items())


CHECKS = [check_steps, check_local_groups, check_transforms, check_wrong_sizes, check_errors, check_time]


def main() -> int:
    try:
        device = jax.devices(GPU)[0]
    except RuntimeError as error:
        print(f"jax finds no GPU: {error}")
        return 1
    jax.block_until_ready(jnp.zeros(1))
    if why := LIBRARY.ragdot_cuda_refusal():
        print(why.decode())
        return 1
    print(f"{device.device_kind}, jax {jax.__version__}")
    return 1 if run(CHECKS) else 0


if __name__ == "__main__":
    sys.exit(main())
