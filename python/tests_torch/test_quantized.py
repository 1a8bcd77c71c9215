"""QuantizedGroupedLinear: GroupedLinear's bits from FP8 that lies in the state, for every recipe that quantises."""

import copy
import subprocess
import sys

import pytest
import torch
from problems import INNER, OUTER, RECIPES, ROWS, normal, offs
from test_modules import EXPERTS, GROUPS, MODEL, linear, moe

import ragdot.torch as rt
from case_files import read_safetensors, write_safetensors

QUANTIZING = [recipe for recipe in RECIPES if recipe != "bf16"]


def quantized(recipe="blockwise", **words) -> rt.QuantizedGroupedLinear:
    return rt.QuantizedGroupedLinear(GROUPS, INNER, OUTER, recipe=recipe, **words)


def results(layer, x, **words) -> list[torch.Tensor]:
    leaf = x.detach().clone().requires_grad_()
    y = layer(leaf, offs(), **words)
    y.float().square().mean().backward()
    return [y.detach(), leaf.grad]


@pytest.mark.parametrize("recipe", QUANTIZING)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_bits_are_those_of_grouped_linear(recipe, dtype):
    layer, x = linear(recipe, bias=True, dtype=dtype), normal(ROWS, INNER, dtype=dtype)
    other = rt.QuantizedGroupedLinear.from_linear(layer)
    with torch.no_grad():
        assert torch.equal(other(x, offs()), layer(x, offs()))
        assert torch.equal(other(x, offs(), is_first_microbatch=False), layer(x, offs()))
    found, expected = results(other, x), results(layer, x)
    assert torch.equal(found[0], expected[0]) and torch.equal(other.bias.grad, layer.bias.grad)
    if other.recipe.one_copy:  # for both directions
        assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[1], expected[1], rtol=0.1, atol=0.1 * expected[1].abs().max().item())


@pytest.mark.parametrize("recipe", QUANTIZING)
def test_a_state_is_what_the_command_writes(recipe):
    """Codes under the weight's name, scales beside them."""
    layer, x = linear(recipe), normal(ROWS, INNER)
    state = rt.QuantizedGroupedLinear.from_linear(layer).state_dict()
    assert list(state) == ["weight", "weight_scale_inv"] and state["weight"].element_size() == 1
    loaded = quantized(recipe)
    loaded.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(loaded(x, offs()), layer(x, offs()))
        assert torch.equal(copy.deepcopy(loaded)(x, offs()), layer(x, offs()))


def test_what_the_command_wrote_is_loaded(tmp_path):
    layer, x = linear(), normal(ROWS, INNER)
    write_safetensors(tmp_path / "in", {"experts.weight": layer.weight.detach().numpy()}, {})
    subprocess.run([sys.executable, "-m", "ragdot", "quantize", tmp_path / "in", "-o", tmp_path / "out"], check=True)
    tensors, _ = read_safetensors(tmp_path / "out")
    codes = torch.from_numpy(tensors["experts.weight"].view("u1").copy()).view(torch.float8_e4m3fn)
    scales = torch.from_numpy(tensors["experts.weight_scale_inv"].copy())
    module = torch.nn.ModuleDict({"experts": quantized()})
    module.load_state_dict({"experts.weight": codes, "experts.weight_scale_inv": scales})
    with torch.no_grad():
        assert torch.equal(module["experts"](x, offs()), layer(x, offs()))


def test_codes_are_moved_and_never_converted():
    layer, x = quantized("mx", bias=True), normal(ROWS, INNER, dtype=torch.bfloat16)
    torch.nn.init.normal_(layer.bias)
    layer.weight.view(torch.uint8).random_(0, 0x70)
    before = layer.weight.clone()
    for move in (lambda: layer.bfloat16(), lambda: layer.to(torch.float64), lambda: layer.half(), lambda: layer.to("cpu", torch.bfloat16)):
        move()
        assert layer.weight.dtype == torch.float8_e4m3fn and layer.weight_scale_inv.dtype == torch.float8_e8m0fnu
    assert layer.bias.dtype == torch.bfloat16 and torch.equal(layer.weight.view(torch.uint8), before.view(torch.uint8))
    assert layer(x, offs()).isfinite().all()
    assert layer.to("meta").weight.device.type == "meta"


def test_experts_of_a_mixture():
    module, x = moe(), normal(12, MODEL)
    with torch.no_grad():
        expected = module(x)
        for name in ("gate_up", "down"):
            setattr(module, name, rt.QuantizedGroupedLinear.from_linear(getattr(module, name)))
        assert torch.equal(module(x), expected)
        assert torch.equal(torch.compile(module, fullgraph=True, backend="aot_eager")(x), expected)
    module(x).sum().backward()
    assert module.router.weight.grad.any() and [n for n, _ in module.named_parameters()] == ["router.weight"]
    assert module.gate_up.weight.shape[0] == EXPERTS


def test_shards_of_the_experts():
    layer, x = linear(), normal(ROWS, INNER)
    whole, parts = rt.QuantizedGroupedLinear.from_linear(layer)(x, offs()), 0
    for first, count in ((0, 2), (2, GROUPS - 2)):
        shard = rt.GroupedLinear(count, INNER, OUTER)
        shard.weight = torch.nn.Parameter(layer.weight[first : first + count].detach())
        parts = parts + rt.QuantizedGroupedLinear.from_linear(shard)(x, offs(), first_group=first)
    assert torch.equal(parts, whole)


def test_what_is_refused():
    for recipe in (None, "bf16"):
        with pytest.raises(ValueError, match="QuantizedGroupedLinear: recipe is .*, which quantises nothing; GroupedLinear is for it"):
            quantized(recipe)
    for assign in (False, True):
        with pytest.raises(RuntimeError, match=r"weight in the state is torch.float32 and the recipe's torch.float8_e4m3fn; quantise the weight"):
            quantized().load_state_dict({"weight": linear().weight.detach()}, strict=False, assign=assign)
    state = rt.QuantizedGroupedLinear.from_linear(linear("blockwise_e8m0")).state_dict()
    with pytest.raises(RuntimeError, match=r"weight_scale_inv in the state is torch.float8_e8m0fnu and the recipe's torch.float32"):
        quantized().load_state_dict(state)
