"""Weights that are written to without a trace that a layer could look for: float32 masters, fully_shard, .data."""

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.utils.parametrize
from problems import INNER, ROWS, normal, offs
from test_modules import MODEL, linear, moe, step

import ragdot.torch as rt
from ragdot.torch._kept import _sampled


def test_weights_copied_from_float32_masters_are_seen():
    """The optimizer steps tensors of its own, and writes through .data do not count in the version."""
    layer, x = linear(dtype=torch.bfloat16), normal(ROWS, INNER, dtype=torch.bfloat16)
    master = layer.weight.detach().float().requires_grad_()
    optimizer = torch.optim.SGD([master], lr=10.0)
    for _ in range(3):
        step(layer, x, offs())
        master.grad = layer.weight.grad.float()
        optimizer.step()
        layer.weight.data.copy_(master)
        assert torch.equal(layer(x, offs()), rt.grouped_mm(x, layer.weight.mT, offs(), recipe="blockwise"))


@pytest.mark.parametrize("write", [lambda weight: weight.data.sub_(weight.grad),
                                   lambda weight: np.subtract(weight.detach(), weight.grad, out=weight.detach().numpy())])  # fmt: skip
def test_steps_by_hand_are_seen(write):
    """They count in no version, and a model that was trained so never learned."""
    layer, x = linear(), normal(ROWS, INNER)
    for _ in range(3):
        step(layer, x, offs())
        write(layer.weight)
        assert torch.equal(layer(x, offs()), rt.grouped_mm(x, layer.weight.mT, offs(), recipe="blockwise"))


def test_weights_swapped_for_averages_are_seen():
    """By reference and by copy, also once they are packed."""
    layer, x = linear(), normal(ROWS, INNER)
    averages = layer.weight.detach() * 0.5
    with torch.no_grad():
        for _ in range(3):
            layer(x, offs())
        layer.weight.data.copy_(averages)
        assert torch.equal(layer(x, offs()), rt.grouped_mm(x, averages.mT, offs(), recipe="blockwise"))


@pytest.mark.parametrize("shape, strides", [((4, 6, 8), (48, 8, 1)), ((4, 6, 8), (48, 1, 6)), ((3, 5, 7), (1, 1000, 3)), ((1, 1, 1), (1, 1, 1))])
def test_samples_lie_within_any_weight(shape, strides):
    """And every group has one, where it is stored by itself."""
    memory = torch.full((10000,), torch.nan)
    weight = memory.as_strided(shape, strides)
    weight.copy_(torch.arange(shape[0], dtype=torch.float32)[:, None, None].expand(shape))
    samples = _sampled(weight)
    last = sum((size - 1) * stride for size, stride in zip(shape, strides))
    assert samples.data_ptr() == weight.data_ptr() and samples.stride(0) * (samples.shape[0] - 1) <= last
    if strides[0] == 48:
        assert set(samples.tolist()) == set(range(shape[0]))


def test_layers_move_where_torch_swaps_tensors():
    """It swaps none that a weak reference points at."""
    layer, x = linear(), normal(ROWS, INNER)
    layer(x, offs())
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        layer.to(torch.bfloat16)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    x = x.bfloat16()
    assert torch.equal(layer(x, offs()), rt.grouped_mm(x, layer.weight.mT, offs(), recipe="blockwise"))


def test_a_loaded_weight_is_quantised_again():
    """fully_shard loads into shards, without a trace on the weight that is gathered from them."""
    layer, other, x = linear(), linear(), normal(ROWS, INNER)
    torch.nn.init.normal_(other.weight)
    layer(x, offs())
    with torch.autograd._unsafe_preserve_version_counter(layer.weight):
        layer.load_state_dict(other.state_dict())
    assert torch.equal(layer(x, offs()), rt.grouped_mm(x, other.weight.mT, offs(), recipe="blockwise"))


@pytest.fixture
def mesh():
    """Of this process alone."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch lacks torch.distributed with gloo")
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield torch.distributed.init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


def losses(layers: list[rt.MoE], **words) -> list[float]:
    """Of a few steps of training."""
    optimizer = torch.optim.AdamW([p for layer in layers for p in layer.parameters()], lr=1e-2)
    x, target, found = normal(64, MODEL), normal(64, MODEL, seed=1), []
    for _ in range(8):
        y = x
        for layer in layers:
            y = y + layer(y, **words)
        loss = (y - target).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        found.append(loss.item())
    return found


def test_fully_sharded_layers_are_trained_as_plain_ones(mesh):
    """The weight is one tensor in all steps, at one address, of one version; the optimizer has its shards."""
    from torch.distributed.fsdp import fully_shard

    expected = losses([moe(), moe()])
    for words in ({}, {"is_first_microbatch": True}):
        assert losses([fully_shard(moe(), mesh=mesh) for _ in range(2)], **words) == expected


@pytest.mark.parametrize("reshard", [True, False])
def test_writes_to_shards_are_seen(mesh, reshard):
    """Without any optimizer: averaged weights, a checkpoint that is read in place."""
    from torch.distributed.fsdp import fully_shard

    layer, plain, x = fully_shard(moe(), mesh=mesh, reshard_after_forward=reshard), moe(), normal(12, MODEL)
    with torch.no_grad():
        for factor in (1.0, 0.7, -2.0):
            layer.reshard()
            for module in (layer, plain):
                for parameter in module.parameters():
                    parameter.mul_(factor)
            assert torch.equal(layer(x), plain(x))


def test_copies_of_layers_have_no_copies_of_weights():
    """Whatever copies a layer's attributes, as parametrised modules do, too."""
    layer, x = linear().requires_grad_(False), normal(ROWS, INNER)
    y = layer(x, offs())

    def check(*others):
        assert layer._kept.copies is not None
        for other in others:
            assert other._kept.copies is None and torch.equal(other(x, offs()), y)

    check(copy.copy(layer), copy.deepcopy(layer))
    torch.nn.utils.parametrize.register_parametrization(layer, "weight", torch.nn.Identity())
    layer(x, offs())
    check(copy.deepcopy(layer))
    for kept in (copy.deepcopy(layer._kept), pickle.loads(pickle.dumps(layer._kept))):
        assert kept.copies is None


def test_a_state_is_judged_behind_the_hooks_that_load_it():
    layer, other = linear(), linear()
    torch.nn.init.normal_(other.weight)
    state = {"weight": other.weight.detach().to(torch.float8_e4m3fn)}
    layer.register_load_state_dict_pre_hook(lambda module, state, prefix, *_: state.update({"weight": state["weight"].float()}))
    layer.load_state_dict(dict(state))
    assert torch.equal(layer.weight, state["weight"].float())


def test_data_set_twice_is_seen():
    """The second may lie where the first weight lay."""
    layer, x = linear(), normal(ROWS, INNER)
    for seed in range(20):
        layer(x, offs())
        layer.weight.data = normal(*layer.weight.shape, seed=seed)
        layer.weight.data = normal(*layer.weight.shape, seed=seed + 1)
        assert torch.equal(layer(x, offs()), rt.grouped_mm(x, layer.weight.mT, offs(), recipe="blockwise"))
