"""The README's JAX runs, and computes what it says."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np

README = Path(__file__).resolve().parents[2] / "README.md"


def test_jax():
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S) if "ragdot.jax" in block]
    found: dict = {}
    exec(compile(code, str(README), "exec"), found)
    x, w = (np.asarray(found[name]).astype(np.float64) for name in ("x", "w"))
    exact = np.concatenate([x[:3] @ w[0], x[3:] @ w[2]])
    y, dx, dw = found["y"], found["dx"], found["dw"]
    assert y.shape == (5, 128) and y.dtype == jnp.bfloat16
    assert np.linalg.norm(np.asarray(y).astype(np.float64) - exact) < 0.06 * np.linalg.norm(exact)
    assert (dx.shape, dx.dtype, dw.shape, dw.dtype) == ((5, 256), jnp.bfloat16, (3, 256, 128), jnp.bfloat16)
    assert np.asarray(dw)[0].any() and not np.asarray(dw)[1].any()
