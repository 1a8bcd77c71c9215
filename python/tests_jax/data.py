"""What the tests multiply: arrays, recipes, and bits to compare."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from ragdot import ScaledArray

RECIPES = ("bf16", "channelwise", "blockwise", "blockwise_e8m0", "mx")
SIZES = np.array([70, 0, 129, 1, 40], np.int32)
GROUPS = len(SIZES)
ROWS, INNER, OUTER = 250, 200, 136  # ten rows behind the groups; inner and outer end within a block


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def bf16(*shape: int, seed: int = 0) -> np.ndarray:
    return normal(*shape, seed=seed).astype(ml_dtypes.bfloat16)


def bits(x) -> np.ndarray:
    """Of equal arrays, equal numbers, NaN included."""
    x = np.ascontiguousarray(np.asarray(x))
    return x.view(f"u{x.itemsize}")


def same(got, want) -> None:
    """Equal types and bits, of arrays or of ScaledArrays of one grid."""
    if isinstance(want, ScaledArray):
        assert (got.block, got.origin) == (want.block, want.origin)
        same(got.values, want.values)
        same(got.scales, want.scales)
        return
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(bits(got), bits(want))


def on_device(x: ScaledArray) -> ScaledArray:
    return jax.tree.map(jnp.asarray, x)
