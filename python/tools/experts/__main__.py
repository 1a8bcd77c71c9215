"""python -m experts: one layer's experts in Hugging Face transformers, by its own implementations and by ragdot's.

Sizes are those of Qwen3-30B-A3B: 128 experts of 2048 x 768, 8 for each token, in bfloat16, routed at random. "transformers grouped_mm" is
what transformers chooses by itself; "ragdot_blockwise" keeps an FP8 copy of the weights; "quantize_experts" leaves that alone, "not packed" as
FP8 checkpoints have it. Results are checked before any is timed; the contenders take turns within one process.
"""

import argparse
import functools

import torch
from transformers import Qwen3MoeConfig
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts

import ragdot.transformers
from contest import Contender, measure, table

PEER = "transformers grouped_mm"
MOST_BATCHED = 8  # tokens: batched_mm copies the weights of each
ALONE = {"quantize_experts": True, "not packed": False}
FURTHEST = dict.fromkeys(("ragdot_blockwise", *ALONE), 0.1)  # of the norm; others 0.01, which is bfloat16's


def experts(implementation: str, hidden: int = 2048, inner: int = 768, count: int = 128) -> Qwen3MoeExperts:
    """Of a layer, with random weights, always the same."""
    config = Qwen3MoeConfig(hidden_size=hidden, moe_intermediate_size=inner, num_experts=count, num_experts_per_tok=8)
    config._experts_implementation = implementation
    torch.manual_seed(0)
    made = Qwen3MoeExperts(config).bfloat16().requires_grad_(False)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    return made


def _check(name: str, exact: torch.Tensor, found: torch.Tensor) -> None:
    far = float((found.float() - exact).norm() / exact.norm())
    if not far < FURTHEST.get(name, 0.01):
        raise SystemExit(f"experts: {name} is off by {far} of the result's norm; nothing was timed")


def contenders(tokens: int, plain: Qwen3MoeExperts, quantized: dict[str, Qwen3MoeExperts]) -> list[Contender]:
    """The implementations, on the same tokens."""
    generator = torch.Generator().manual_seed(tokens)
    x = torch.randn(tokens, plain.hidden_dim, generator=generator).bfloat16()
    weights, chosen = torch.rand(tokens, plain.num_experts, generator=generator).topk(plain.config.num_experts_per_tok)
    weights = (weights / weights.sum(-1, keepdim=True)).bfloat16()

    def call(implementation: str, layer: Qwen3MoeExperts) -> torch.Tensor:
        layer.config._experts_implementation = implementation
        return layer(x, chosen, weights)

    exact = call("eager", plain).float()
    names = ["grouped_mm", "eager", *(["batched_mm"] if tokens <= MOST_BATCHED else []), "ragdot", "ragdot_blockwise"]
    found = [Contender(name if name.startswith("ragdot") else f"transformers {name}", functools.partial(call, name, plain),
                       functools.partial(_check, name, exact)) for name in names]  # fmt: skip
    return [*found, *(Contender(name, functools.partial(call, "ragdot_blockwise", layer), functools.partial(_check, name, exact))
                      for name, layer in quantized.items())]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="experts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="(%(default)s)")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 8, 64, 512, 2048], help="(%(default)s)")
    given = parser.parse_args()
    plain, quantized = experts("eager"), {name: experts("ragdot_blockwise") for name in ALONE}
    for name, packed in ALONE.items():
        ragdot.transformers.quantize_experts(quantized[name], packed)
    with torch.no_grad():
        for tokens in given.tokens:
            found = contenders(tokens, plain, quantized)
            for contender in found:
                contender.check(contender.call())
            calls = max(64 // tokens, 1)
            flops = 6 * tokens * plain.config.num_experts_per_tok * plain.hidden_dim * plain.intermediate_dim
            print(f"{tokens} tokens, {torch.get_num_threads()} threads, medians of {given.rounds} rounds of {calls} calls")
            print(table(measure(found, PEER, given.rounds, calls), flops), flush=True)


if __name__ == "__main__":
    main()
