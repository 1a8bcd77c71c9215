"""Rows on their way to experts and back: results are added in the order of the choice, whatever the parts in which they are."""

import pytest
import torch
from problems import normal
from test_modules import MODEL, moe

from ragdot.torch import _dispatch

TOKENS, TOP, EXPERTS, WIDTH = 37, 6, 9, 100


def run(rows: torch.Tensor, offs: torch.Tensor) -> torch.Tensor:
    """An expert multiplies by its number and one."""
    numbers = torch.repeat_interleave(torch.arange(len(offs)) + 1, offs.diff(prepend=offs.new_zeros(1)))
    return rows * numbers.to(rows.dtype).unsqueeze(1)


def problem(dtype: torch.dtype):
    generator = torch.Generator().manual_seed(3)
    weights, experts = torch.rand(TOKENS, EXPERTS, generator=generator).topk(TOP)
    return normal(TOKENS, WIDTH, dtype=dtype).requires_grad_(), weights.requires_grad_(), experts


def in_order(tokens: torch.Tensor, weights: torch.Tensor, experts: torch.Tensor) -> torch.Tensor:
    """One product and one addition for each expert of a token, in float32."""
    total = torch.zeros(TOKENS, WIDTH)
    for i in range(TOP):
        total = total + (tokens * (experts[:, i : i + 1] + 1).to(tokens.dtype)).float() * weights[:, i : i + 1]
    return total.to(tokens.dtype)


@pytest.mark.parametrize("bytes_at_a_time", [1, 10_000, 4 << 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_are_added_in_order(monkeypatch, dtype, bytes_at_a_time):
    monkeypatch.setattr(_dispatch, "_PART_BYTES", bytes_at_a_time)
    tokens, weights, experts = problem(dtype)
    y = _dispatch.through_experts(tokens, weights, experts, EXPERTS, run)
    assert torch.equal(y, in_order(tokens, weights, experts)) and y.dtype == dtype
    dy = normal(TOKENS, WIDTH, seed=1, dtype=dtype)
    found = torch.autograd.grad(y, (tokens, weights), dy)
    exact_tokens, exact_weights = (x.detach().double().requires_grad_() for x in (tokens, weights))
    scores = torch.zeros(TOKENS, EXPERTS, dtype=torch.float64).scatter(1, experts, exact_weights)
    factors = scores @ (torch.arange(EXPERTS) + 1.0).double()
    exact = torch.autograd.grad(factors.unsqueeze(1) * exact_tokens, (exact_tokens, exact_weights), dy.double())
    for a, b in zip(found, exact):
        assert (a.double() - b).norm() <= (1e-6 if dtype == torch.float32 else 2e-2) * b.norm()


def test_parts_change_no_bit_of_gradients(monkeypatch):
    tokens, weights, experts = problem(torch.bfloat16)
    dy, results = normal(TOKENS, WIDTH, seed=1, dtype=torch.bfloat16), []
    for bytes_at_a_time in (1, 5_000, 4 << 20):
        monkeypatch.setattr(_dispatch, "_PART_BYTES", bytes_at_a_time)
        results.append(torch.autograd.grad(_dispatch.through_experts(tokens, weights, experts, EXPERTS, run), (tokens, weights), dy))
    for found in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found, results[0]))


@pytest.mark.parametrize("needed", [(True, False), (False, True), (False, False)])
def test_only_what_is_needed_has_a_gradient(needed):
    tokens, weights, experts = problem(torch.float32)
    for x, wanted in zip((tokens, weights), needed):
        x.requires_grad_(wanted)
    y = _dispatch.through_experts(tokens, weights, experts, EXPERTS, run)
    assert y.requires_grad == any(needed)
    if any(needed):
        y.sum().backward()
    assert [x.grad is not None for x in (tokens, weights)] == list(needed)


def test_no_tokens():
    y = _dispatch.through_experts(torch.zeros(0, WIDTH), torch.zeros(0, TOP), torch.zeros(0, TOP, dtype=torch.int64), EXPERTS, run)
    assert y.shape == (0, WIDTH)


@pytest.mark.parametrize("recipe", [None, "blockwise"])
def test_a_mixture_is_traced(recipe):
    layer = moe(recipe).requires_grad_(False)
    traced = torch.jit.trace(layer, normal(12, MODEL), check_trace=False)
    for shape in ((12, MODEL), (5, MODEL)):
        x = normal(*shape, seed=1)
        assert torch.equal(traced(x), layer(x))
