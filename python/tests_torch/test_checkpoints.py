"""Calls that are played again or only looked at: checkpoints with a policy and without, tensors without numbers, gradients of some inputs alone."""

import functools
import gc

import pytest
import torch
from problems import INNER, RECIPES, ROWS, normal, offs
from test_modules import EXPERTS, FEW, FEW_ENDS, HIDDEN, MODEL, TOP, WHOLE_BLOCKS, counted, equal, linear, moe  # noqa: F401  # a fixture
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

import ragdot.torch as rt
from ragdot.torch import _packed

aten, ragdot = torch.ops.aten, torch.ops.ragdot
POLICIES = {
    "no operator of the layer": [aten.mm.default],
    "products": [ragdot.gmm.default, ragdot.gmm.scaled, ragdot.gmm.general],
    "quantised copies": [ragdot.quantize.default, ragdot.quantize_both.default],
    "rows of experts": [aten.index_select.default, aten._to_copy.default, aten.mul.Tensor, aten.add.Tensor],
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("recipe", [None, "bf16", "blockwise", "mx"])
def test_a_policy_says_what_is_saved(policy, recipe):
    """Whether weights have been quantised already is none of its business."""
    x = normal(ROWS, MODEL)
    for frozen in (False, True):
        plain, layer = moe(recipe), moe(recipe)
        for module in (plain, layer):
            module.gate_up.requires_grad_(not frozen)
        for _ in range(2):
            found = []
            for module, wrap in ((plain, None), (layer, functools.partial(create_selective_checkpoint_contexts, POLICIES[policy]))):
                leaf = x.clone().requires_grad_()
                y = module(leaf) if wrap is None else checkpoint(module, leaf, use_reentrant=False, context_fn=wrap)
                found.append([y, *torch.autograd.grad(y.square().mean(), [leaf, *(p for p in module.parameters() if p.requires_grad)])])
            assert equal(*found)


def test_reentrant_checkpoints_quantise_once(counted):  # noqa: F811
    """Its calls without gradients and those with them take turns: packed copies would serve every other call."""
    layer, x = linear(outer=WHOLE_BLOCKS), normal(FEW, INNER)
    for _ in range(3):
        checkpoint(layer, x.clone().requires_grad_(), FEW_ENDS, use_reentrant=True).sum().backward()
    assert len(counted) == 1 and not _packed.is_packed(layer._kept.copies.operands[0][0])


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_tensors_without_numbers(recipe):
    with FakeTensorMode():
        layer, x, ends = linear(recipe), torch.empty(ROWS, INNER), offs()
        for _ in range(2):
            assert layer(x, ends).shape == (ROWS, layer.out_features)
    layer, x, ends = linear(recipe), normal(ROWS, INNER), offs()
    with torch.no_grad():
        before = layer(x, ends)
        for mode in ("real", "fake"):
            graph = make_fx(layer, tracing_mode=mode, _allow_non_fake_inputs=True)(x, ends)
            assert torch.equal(graph(x, ends), before)
            layer.weight.mul_(-1)
            assert torch.equal(graph(x, ends), -before), "the graph quantises the weight"
            layer.weight.mul_(-1)


@pytest.mark.parametrize("recipe", ["bf16", "blockwise", "mx"])
def test_exported_programs_are_for_inference(recipe):
    layer, x, ends = linear(recipe, bias=True), normal(ROWS, INNER), offs()
    expected = layer(x, ends)  # what is kept goes into no program
    program = torch.export.export(layer, (x, ends)).module()
    assert torch.equal(program(x, ends), expected)
    program.load_state_dict({name: -tensor for name, tensor in layer.state_dict().items()})
    assert torch.equal(program(x, ends), -expected)


@pytest.mark.parametrize("recipe", [None, *RECIPES], ids=str)
def test_gradients_that_nobody_asked_for_are_not_computed(recipe, monkeypatch):
    layer = linear(recipe, fuse_wgrad_accumulation=True)
    layer.weight.main_grad = torch.zeros_like(layer.weight)
    x = normal(ROWS, INNER).requires_grad_()
    both = layer(x * 1, offs()).square().sum()
    both.backward()
    expected, dw = x.grad.clone(), layer.weight.main_grad.clone()
    layer.weight.main_grad.zero_()
    products = []
    for name in ("tgmm", "tgmm_add"):
        operator = getattr(rt._products.ops, name)
        monkeypatch.setattr(rt._products.ops, name, lambda *given, name=name, operator=operator: products.append(name) or operator(*given))
    x.grad = None
    y = layer(x * 1, offs()).square().sum()
    (dx,) = torch.autograd.grad(y, x, retain_graph=True)
    assert torch.equal(dx, expected) and not layer.weight.main_grad.any() and not products
    y.backward(inputs=[layer.weight])
    assert x.grad is None and torch.equal(layer.weight.main_grad, dw) and products == ["tgmm_add"]
    layer.fuse_wgrad_accumulation = False
    (only,) = torch.autograd.grad(layer(x * 1, offs()).square().sum(), layer.weight)
    assert torch.equal(only, dw) and products == ["tgmm_add", "tgmm"]
    x_of_two, y_of_two = normal(INNER, ROWS).requires_grad_(), normal(ROWS, 96, seed=1).requires_grad_()
    out = rt.grouped_mm(x_of_two * 1, y_of_two * 1, offs(), recipe=recipe).square().sum()
    alone = torch.autograd.grad(out, x_of_two, retain_graph=True) + torch.autograd.grad(out, y_of_two, retain_graph=True)
    assert equal(list(alone), list(torch.autograd.grad(out, (x_of_two, y_of_two))))


def test_copies_of_weights_that_are_gathered_for_each_use_go():
    """As fully_shard sets them, of all layers one behind the other."""
    layer, x = linear("mx"), normal(ROWS, INNER)
    layer(x, offs())
    layer.weight = torch.nn.Parameter(layer.weight.detach().clone())
    assert layer._kept.copies is None
    layer(x, offs(), is_first_microbatch=True)
    with torch.no_grad():
        layer.weight = torch.nn.Parameter(layer.weight.detach().clone())
        expected = layer(x, offs())
    assert torch.equal(layer(x, offs(), is_first_microbatch=False), expected), "a call between two microbatches"
    torch.optim.SGD(layer.parameters(), lr=0.0).step()
    assert torch.equal(layer(x, offs(), is_first_microbatch=False), expected), "what was quantised last"
    layer(x, offs())
    layer.weight = torch.nn.Parameter(layer.weight.detach().clone())
    gc.collect()
    assert layer._kept.copies is None


class Dropping(rt.MoE):
    """In place of expert 3 it chooses nobody."""

    nobody = -1

    def route(self, tokens):
        weights, experts = super().route(tokens)
        return weights, torch.where(experts == 3, self.nobody, experts)


@pytest.mark.parametrize("recipe", [None, "blockwise"])
def test_a_choice_of_no_expert_adds_nothing(recipe):
    plain = moe(recipe)
    results = []
    for nobody in (-1, -9, EXPERTS, EXPERTS + 5):
        layer = Dropping(MODEL, HIDDEN, EXPERTS, TOP, recipe=recipe)
        layer.load_state_dict(plain.state_dict())
        layer.nobody = nobody
        results.append(layer(normal(ROWS, MODEL)))
    with torch.no_grad():
        plain.down.weight[3] = 0
        assert all(torch.equal(y, plain(normal(ROWS, MODEL))) for y in results)


def test_tensors_of_several_processes_are_refused():
    class DTensor(torch.Tensor):
        def to_local(self):
            return self

    x, w = normal(ROWS, INNER), normal(5, INNER, 8)
    for name, operands in (("x", (x.as_subclass(DTensor), w)), ("w", (x, w.as_subclass(DTensor)))):
        with pytest.raises(ValueError, match=rf"grouped_mm: {name} is a DTensor; give {name}.to_local\(\) of each process, and first_group"):
            rt.grouped_mm(*operands, offs())
