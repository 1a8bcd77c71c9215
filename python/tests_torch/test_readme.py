"""The README's PyTorch and transformers run, and compute what it says."""

import re
from pathlib import Path

import torch
import transformers

README = Path(__file__).resolve().parents[2] / "README.md"


def run(door: str) -> dict:
    """What the README's code for it leaves behind."""
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S) if door in block]
    found: dict = {}
    exec(compile(code, str(README), "exec"), found)
    return found


def test_torch():
    found = run("ragdot.torch")
    x, w, y = found["x"], found["w"], found["y"]
    exact = torch.cat([x[:3].double() @ w[0].double(), x[3:].double() @ w[2].double()])
    assert y.shape == (5, 128) and y.dtype == torch.bfloat16 and (y.double() - exact).norm() < 0.06 * exact.norm()
    assert x.grad.shape == x.shape and w.grad.dtype == w.dtype and w.grad[0].any() and not w.grad[1].any()
    assert found["z"].shape == (5, 256)


def test_transformers(monkeypatch):
    """On a model that is made here, not fetched."""

    def made(name: str, dtype: torch.dtype) -> torch.nn.Module:
        config = transformers.Qwen3MoeConfig(vocab_size=32, hidden_size=64, moe_intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                                             num_key_value_heads=1, head_dim=32, num_experts=4, num_experts_per_tok=2)  # fmt: skip
        return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", made)
    model = run("ragdot.transformers")["model"]
    assert model.model.layers[0].mlp.experts.down_proj.dtype == torch.float8_e4m3fn
    assert model(torch.arange(6).unsqueeze(0)).logits.isfinite().all()
