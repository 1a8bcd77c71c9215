"""Trains a small language model with a Mixture-of-Experts layer on this project's text, in bf16 and in FP8, and draws the losses.

    python examples/torch_moe.py                       # 300 steps, three seeds, bf16 and blockwise FP8
    python examples/torch_moe.py --recipes bf16 mx --picture losses.svg
"""  # fmt: skip

import torch
from losses import compare, text
from torch.nn import functional

import ragdot.torch as rt

CONTEXT, BATCH, MODEL, HEADS, HIDDEN, EXPERTS, TOP = 64, 16, 128, 4, 256, 8, 2


class Block(torch.nn.Module):
    """Attention, then experts."""

    def __init__(self, recipe: str):
        super().__init__()
        self.before, self.between = torch.nn.RMSNorm(MODEL), torch.nn.RMSNorm(MODEL)
        self.qkv, self.out = torch.nn.Linear(MODEL, 3 * MODEL, bias=False), torch.nn.Linear(MODEL, MODEL, bias=False)
        self.experts = rt.MoE(MODEL, HIDDEN, EXPERTS, TOP, recipe=recipe)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = (z.unflatten(-1, (HEADS, -1)).transpose(1, 2) for z in self.qkv(self.before(x)).chunk(3, -1))
        x = x + self.out(functional.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(-2))
        return x + self.experts(self.between(x))


class Model(torch.nn.Module):
    """Bytes in, logits of the next byte out."""

    def __init__(self, recipe: str):
        super().__init__()
        self.bytes, self.places = torch.nn.Embedding(256, MODEL), torch.nn.Embedding(CONTEXT, MODEL)
        self.block, self.last = Block(recipe), torch.nn.RMSNorm(MODEL)
        self.logits = torch.nn.Linear(MODEL, 256, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.bytes(tokens) + self.places(torch.arange(tokens.shape[1]))
        return self.logits(self.last(self.block(x)))


def train(recipe: str, seed: int, steps: int, data: torch.Tensor) -> list[float]:
    """The loss of every step. Seeds decide weights and batches, which all recipes share."""
    torch.manual_seed(seed)
    model = Model(recipe)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(steps):
        starts = torch.randint(len(data) - CONTEXT - 1, (BATCH, 1))
        window = data[starts + torch.arange(CONTEXT + 1)].long()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(window[:, :-1])
        loss = functional.cross_entropy(logits.float().flatten(0, 1), window[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    compare(train, torch.frombuffer(bytearray(text()), dtype=torch.uint8), f"PyTorch, {EXPERTS} experts", "torch_moe.svg")


if __name__ == "__main__":
    main()
