"""The README's Python runs, and computes what it says."""

import re
from pathlib import Path

import ml_dtypes
import numpy as np
from oracle import assert_right

README = Path(__file__).resolve().parents[2] / "README.md"


def snippets(word: str) -> list[str]:
    """Python blocks of the README that hold the word."""
    return [block for block in re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S) if word in block]


def test_numpy():
    (code,) = snippets("ragdot.gmm(")
    found: dict = {}
    exec(compile(code, str(README), "exec"), found)
    assert (found["y"].shape, found["y"].dtype) == ((5, 128), ml_dtypes.bfloat16)
    assert (found["dx"].shape, found["dx"].dtype) == ((5, 256), ml_dtypes.bfloat16)
    assert (found["dw"].shape, found["dw"].dtype) == ((3, 256, 128), np.float32)
    assert not found["dw"][1].any()
    assert_right("gmm", found["y"], found["x_rows"], found["weights"], found["sizes"])
    assert_right("dlhs", found["dx"], found["dy_rows"], found["weights"], found["sizes"])
    assert_right("tgmm", found["dw"], found["x_cols"], found["dy_cols"], found["sizes"])
