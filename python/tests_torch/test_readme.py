"""The README's PyTorch runs, and computes what it says."""

import re
from pathlib import Path

import torch

README = Path(__file__).resolve().parents[2] / "README.md"


def test_torch():
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S) if "ragdot.torch" in block]
    found: dict = {}
    exec(compile(code, str(README), "exec"), found)
    x, w, y = found["x"], found["w"], found["y"]
    exact = torch.cat([x[:3].double() @ w[0].double(), x[3:].double() @ w[2].double()])
    assert y.shape == (5, 128) and y.dtype == torch.bfloat16 and (y.double() - exact).norm() < 0.06 * exact.norm()
    assert x.grad.shape == x.shape and w.grad.dtype == w.dtype and w.grad[0].any() and not w.grad[1].any()
    assert found["z"].shape == (5, 256)
