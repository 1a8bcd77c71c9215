"""GroupedLinear and MoE: against plain torch in float64, weights quantised once, main_grad, compile, checkpointing, determinism."""

import copy

import pytest
import torch
from problems import ENDS, INNER, OUTER, RECIPES, ROWS, normal, offs
from torch.utils.checkpoint import checkpoint

import ragdot.torch as rt
from ragdot.torch import _kept, _packed

GROUPS = len(ENDS)
MODEL, HIDDEN, EXPERTS, TOP = 64, 96, 8, 2


def linear(recipe="blockwise", outer=OUTER, **words) -> rt.GroupedLinear:
    torch.manual_seed(0)
    return rt.GroupedLinear(GROUPS, INNER, outer, recipe=recipe, **words)


def moe(recipe="blockwise", **words) -> rt.MoE:
    torch.manual_seed(0)
    return rt.MoE(MODEL, HIDDEN, EXPERTS, TOP, recipe=recipe, **words)


def step(module, *inputs, **words) -> list[torch.Tensor]:
    """The result, and the gradients of the first input and of all parameters."""
    module.zero_grad()
    x = inputs[0].detach().clone().requires_grad_()
    y = module(x, *inputs[1:], **words)
    y.float().square().mean().backward()
    return [y.detach(), x.grad, *(p.grad.clone() for p in module.parameters())]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b))


@pytest.fixture
def counted(monkeypatch):
    """How often weights were quantised."""
    calls, original = [], _kept.weight_operands

    def counting(*given):
        calls.append(given)
        return original(*given)

    monkeypatch.setattr(_kept, "weight_operands", counting)
    return calls


@pytest.mark.parametrize("recipe", [None, *RECIPES], ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_linear_is_grouped_mm(recipe, bias):
    layer, x = linear(recipe, bias=bias), normal(ROWS, INNER)
    expected = rt.grouped_mm(x, layer.weight.mT, offs(), layer.bias, recipe=recipe)
    assert torch.equal(layer(x, offs()), expected)
    gradients = torch.autograd.grad(expected.square().mean(), list(layer.parameters()))
    assert equal(step(layer, x, offs())[2:], list(gradients))
    assert set(layer.state_dict()) == ({"weight", "bias"} if bias else {"weight"})


@pytest.mark.parametrize("recipe", ["blockwise", "channelwise"])
def test_weights_are_quantised_once_until_they_change(recipe, counted):
    layer, x = linear(recipe), normal(ROWS, INNER)
    first = step(layer, x, offs())
    assert equal(step(layer, x, offs()), first) and len(counted) == 1
    with torch.no_grad():
        layer(x, offs())
    assert len(counted) == 1
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    optimizer.step()
    assert not torch.equal(layer(x, offs()), first[0]) and len(counted) == 2
    layer.load_state_dict(linear(recipe).state_dict())
    assert equal(step(layer, x, offs()), first) and len(counted) == 3
    layer.weight = torch.nn.Parameter(layer.weight.detach() * 2)
    assert not torch.equal(layer(x, offs()), first[0]) and len(counted) == 4
    layer.to(torch.bfloat16)
    layer(x, offs())
    assert len(counted) == 5


@pytest.mark.parametrize("words", [{"fused": True}, {"foreach": True}, {}], ids=str)
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad])
def test_what_an_optimizer_writes_is_seen(kind, words):
    """Fused ones do not count their writes in the tensor's version."""
    layer, x = linear(), normal(ROWS, INNER)
    optimizer = kind(layer.parameters(), lr=0.1, **words)
    for _ in range(3):
        step(layer, x, offs())
        optimizer.step()
        assert torch.equal(layer(x, offs()), rt.grouped_mm(x, layer.weight.mT, offs(), recipe="blockwise"))


def test_a_step_of_other_weights_changes_no_frozen_one(counted):
    layer, other, x = linear().requires_grad_(False), torch.nn.Linear(3, 3), normal(ROWS, INNER)
    layer(x, offs())
    other(torch.ones(3)).sum().backward()
    torch.optim.SGD(other.parameters(), lr=0.1, fused=True).step()
    layer(x, offs())
    assert len(counted) == 1
    layer.weight.grad = torch.ones_like(layer.weight)
    torch.optim.SGD(layer.parameters(), lr=0.1, fused=True).step()
    assert torch.equal(layer(x, offs()), rt.grouped_mm(x, layer.weight.mT, offs(), recipe="blockwise")) and len(counted) == 2


@pytest.mark.parametrize("recipe", [None, "blockwise"])
def test_shards_of_the_experts_sum_to_the_layer(recipe):
    layer, x, dy = linear(recipe, bias=True), normal(ROWS, INNER), normal(ROWS, OUTER, seed=1)

    def results(module, **words):
        leaf = x.clone().requires_grad_()
        y = module(leaf, offs(), **words)
        y.backward(dy)
        return y.detach(), leaf.grad, *(p.grad for p in module.parameters())

    whole, parts = results(layer), []
    for first, count in ((0, 2), (2, GROUPS - 2)):
        shard = rt.GroupedLinear(count, INNER, OUTER, bias=True, recipe=recipe)
        with torch.no_grad():
            for parameter, full in zip(shard.parameters(), layer.parameters()):
                parameter.copy_(full[first : first + count])
        parts.append(results(shard, first_group=first))
    for i, (a, b) in enumerate(zip(*parts)):
        assert torch.equal(a + b if i < 2 else torch.cat([a, b]), whole[i])
    with pytest.raises(ValueError, match="gmm: rhs has 2 matrices for groups from first_group 4 on; there are 5 groups"):
        rt.GroupedLinear(2, INNER, OUTER)(x, offs(), first_group=4)


def test_microbatches_keep_what_was_quantised_across_a_step():
    layer, x = linear(), normal(ROWS, INNER)
    first = step(layer, x, offs(), is_first_microbatch=True)
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    assert equal(step(layer, x, offs(), is_first_microbatch=False), first)


@pytest.mark.parametrize("recipe", ["blockwise", "channelwise"])
def test_training_goes_on_after_inference_mode(recipe):
    layer, x = linear(recipe), normal(ROWS, INNER)
    with torch.inference_mode():
        y = layer(x, offs())
    assert equal(step(layer, x, offs()), step(linear(recipe), x, offs())) and torch.equal(y, layer(x, offs()))


def test_a_layer_made_in_inference_mode_quantises_each_time(counted):
    x = normal(ROWS, INNER)
    with torch.inference_mode():
        layer = linear()
        y = layer(x, offs())
        layer.weight.mul_(2)
        assert torch.equal(layer(x, offs()), 2 * y) and len(counted) == 2
        assert torch.equal(layer(x, offs(), is_first_microbatch=False), 2 * y) and len(counted) == 2
    assert torch.equal(moe()(normal(5, MODEL)), inference_moe(normal(5, MODEL)))


def inference_moe(x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return moe()(x)


def test_another_recipe_is_seen():
    layer, x = linear(), normal(ROWS, INNER)
    layer(x, offs())
    for recipe in ("mx", rt.Recipe(format="e5m2")):
        layer.recipe = recipe
        layer(x, offs(), is_first_microbatch=True)
        layer.recipe = recipe  # the same
        layer(x, offs(), is_first_microbatch=False)
        assert torch.equal(layer(x, offs()), linear(recipe)(x, offs()))
    with pytest.raises(ValueError, match="GroupedLinear: recipe is 'fp8'"):
        layer.recipe = "fp8"


def test_a_mixture_takes_another_recipe_at_any_time():
    layer, x = moe(), normal(ROWS, MODEL)
    layer(x)
    for recipe in (None, "mx"):
        layer.recipe = recipe
        assert layer.recipe == layer.gate_up.recipe == layer.down.recipe and torch.equal(layer(x), moe(recipe)(x))
    layer.down = rt.QuantizedGroupedLinear.from_linear(layer.down)
    with pytest.raises(ValueError, match="MoE: down is a QuantizedGroupedLinear, whose recipe is that of its codes"):
        layer.recipe = "blockwise"
    assert layer.recipe == moe("mx").recipe


def test_inference_between_microbatches():
    """Of few rows, whose weights are packed once they serve again: not those that gradients will ask for."""
    layer, x = linear(), normal(ROWS, INNER)
    first = step(layer, x, offs(), is_first_microbatch=True)
    with torch.no_grad():
        for _ in range(3):
            assert torch.equal(layer(x, offs()), first[0])
    assert equal(step(layer, x, offs(), is_first_microbatch=False), first)


def test_compiled_layers_have_recipes_of_their_own():
    """Whatever was compiled before, and another one that is set later."""
    torch.compiler.reset()
    x, modules = normal(5, MODEL), [moe(None), moe("blockwise"), moe("mx")]
    for module in modules:
        assert torch.equal(torch.compile(module, backend="eager", fullgraph=True)(x), module(x))
    compiled = torch.compile(modules[0], backend="eager", fullgraph=True)
    for recipe in ("blockwise", None, "mx"):
        modules[0].gate_up.recipe = modules[0].down.recipe = recipe
        assert torch.equal(compiled(x), modules[0](x)) and torch.equal(compiled(x), moe(recipe)(x))


def test_inference_quantises_for_one_direction_alone(counted):
    layer, x = linear("channelwise"), normal(ROWS, INNER)
    with torch.no_grad():
        layer(x, offs())
    assert layer._kept.copies.operands[1] is None
    step(layer, x, offs())
    assert layer._kept.copies.operands[1] is not None and len(counted) == 2


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("recipe", ["blockwise", "channelwise"])
def test_microbatches_share_what_the_first_quantised(recipe, compiled, counted):
    torch._dynamo.reset()
    layer, x = linear(recipe), normal(ROWS, INNER)
    run = torch.compile(layer, fullgraph=True, backend="aot_eager") if compiled else layer
    first = step(run, x, offs(), is_first_microbatch=True)
    assert equal(first, step(layer, x, offs()))
    with torch.no_grad():
        layer.weight.mul_(2)
    assert equal(step(run, x, offs(), is_first_microbatch=False), first)
    assert torch.equal(step(run, x, offs(), is_first_microbatch=True)[0], first[0] * 2)
    assert torch.equal(step(run, x, offs(), is_first_microbatch=False)[0], first[0] * 2)


def test_a_compiled_call_that_cannot_know_quantises_again():
    torch._dynamo.reset()
    layer, x = linear(), normal(ROWS, INNER)
    run = torch.compile(layer, fullgraph=True, backend="aot_eager")
    first = step(run, x, offs())
    assert equal(first, step(layer, x, offs()))
    with torch.no_grad():
        layer.weight.mul_(2)
    assert torch.equal(step(run, x, offs())[0], first[0] * 2)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("recipe", [None, "bf16", "blockwise"])
def test_gradients_are_added_to_main_grad(recipe, compiled):
    torch._dynamo.reset()
    plain, fused, x = linear(recipe), linear(recipe, fuse_wgrad_accumulation=True), normal(ROWS, INNER)
    fused.weight.main_grad = torch.zeros_like(fused.weight, dtype=torch.float32)
    run = torch.compile(fused, fullgraph=True, backend="aot_eager") if compiled else fused
    for microbatch in range(2):
        for module in (plain, run):
            module(x, offs(), is_first_microbatch=microbatch == 0).square().mean().backward()
    assert fused.weight.grad is None and torch.equal(fused.weight.main_grad, plain.weight.grad)


def test_main_grad_may_be_zeroed_or_replaced_before_the_way_back():
    plain, layer, x = linear(), linear(fuse_wgrad_accumulation=True), normal(ROWS, INNER)
    plain(x, offs()).square().mean().backward()
    layer.weight.main_grad = torch.ones_like(layer.weight)
    loss = layer(x, offs()).square().mean()
    layer.weight.main_grad.zero_()
    loss.backward()
    assert torch.equal(layer.weight.main_grad, plain.weight.grad)
    loss = layer(x, offs()).square().mean()
    layer.weight.main_grad = torch.zeros_like(layer.weight)
    loss.backward()
    assert torch.equal(layer.weight.main_grad, plain.weight.grad)
    layer.weight.requires_grad_(False)
    del layer.weight.main_grad
    step(torch.nn.Sequential(torch.nn.Identity()), layer(x.requires_grad_(), offs()))


def test_what_layers_refuse():
    layer, x = linear(fuse_wgrad_accumulation=True), normal(ROWS, INNER)
    with pytest.raises(ValueError, match=r"GroupedLinear: fuse_wgrad_accumulation needs weight.main_grad, float32 \[5, 136, 140\]"):
        layer(x, offs())
    with torch.no_grad():
        layer(x, offs())
    with pytest.raises(ValueError, match="GroupedLinear: is_first_microbatch is False before any call with True"):
        linear()(x, offs(), is_first_microbatch=False)
    with torch.no_grad():
        layer = linear("mx")
        layer(x, offs())
    with pytest.raises(ValueError, match="GroupedLinear: is_first_microbatch is False before any call with True and gradients"):
        layer(x, offs(), is_first_microbatch=False)
    layer(x, offs(), is_first_microbatch=True)
    layer.recipe = "blockwise"
    with pytest.raises(ValueError, match="GroupedLinear: is_first_microbatch is False before any call with True and this recipe"):
        layer(x, offs(), is_first_microbatch=False)
    with pytest.raises(RuntimeError, match="GroupedLinear: a.weight in the state is torch.float8_e4m3fn, quantised; "
                                           "QuantizedGroupedLinear is for it"):  # fmt: skip
        torch.nn.ModuleDict({"a": linear()}).load_state_dict({"a.weight": layer.weight.detach().to(torch.float8_e4m3fn)}, strict=False)
    with pytest.raises(ValueError, match=r"GroupedLinear: x is \[3, 139\]; give \[M, 140\], rows of in_features numbers$"):
        layer(normal(3, INNER - 1), offs())
    with pytest.raises(ValueError, match=r"QuantizedGroupedLinear: x is \[2, 3, 140\]; give \[M, 140\].*; x.flatten\(0, -2\) has all rows"):
        rt.QuantizedGroupedLinear.from_linear(linear())(normal(2, 3, INNER), offs())
    with pytest.raises(ValueError, match=r"MoE: x is \[3, 63\]; model_size is 64, which"):
        moe()(normal(3, MODEL - 1))
    with pytest.raises(ValueError, match="GroupedLinear: offs end 6 groups and there are 5 matrices"):
        layer(x, torch.tensor([*ENDS, ROWS]))
    with pytest.raises(NotImplementedError, match="ragdot.torch: torch.func is not offered"):
        torch.func.functional_call(layer, dict(layer.named_parameters()), (x, offs())), torch.func.grad(lambda z: layer(z, offs()).sum())(x)
    with pytest.raises(NotImplementedError, match="GroupedLinear: x is torch.float16 and w torch.bfloat16; without a recipe"):
        linear(None, dtype=torch.bfloat16)(x.half(), offs())
    with pytest.raises(ValueError, match="MoE: top_k is 9 of 8 experts; it must be from 1 to 8"):
        rt.MoE(MODEL, HIDDEN, EXPERTS, 9)
    with pytest.raises(ValueError, match="MoE: the router gives 9 logits for 8 experts; set one that gives one for each"):
        layer = moe()
        layer.router = torch.nn.Linear(MODEL, EXPERTS + 1, bias=False)
        layer(normal(3, MODEL))


def in_float64(layer: rt.MoE, x: torch.Tensor) -> torch.Tensor:
    """Every expert on every token, weighted by zero where it was not chosen."""
    weights = torch.nn.functional.linear(x, layer.router.weight.double()).softmax(-1)
    kept, experts = weights.topk(TOP)
    if layer.normalize_weights:
        kept = kept / kept.sum(-1, keepdim=True)
    weights = torch.zeros_like(weights).scatter(-1, experts, kept)
    gate, up = torch.einsum("tk,enk->ten", x, layer.gate_up.weight.double()).chunk(2, -1)
    y = torch.einsum("ten,ekn->tek", torch.nn.functional.silu(gate) * up, layer.down.weight.double())
    return (y * weights.unsqueeze(-1)).sum(1)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("recipe, tolerance", [(None, 1e-5), ("bf16", 0.03), ("blockwise", 0.2), ("mx", 0.2)])
def test_moe_and_its_gradients(recipe, tolerance, normalize):
    """Relative to the whole tensor; quantisation errors are held product by product in test_products.py."""
    layer, x = moe(recipe, normalize_weights=normalize), normal(3, 40, MODEL)
    found = step(layer, x)
    leaf = x.double().requires_grad_()
    exact = in_float64(layer, leaf.reshape(-1, MODEL)).reshape(x.shape)
    gradients = torch.autograd.grad(exact.square().mean(), [leaf, *layer.parameters()])
    for result, right in zip(found, [exact.detach(), *gradients], strict=True):
        assert right.norm() > 0 and (result.double() - right).norm() <= tolerance * right.norm()


def test_moe_experts_without_tokens_get_zero_gradients():
    layer, x = moe(), normal(50, MODEL).abs()
    with torch.no_grad():
        layer.router.weight[3] = -9
    gradients = dict(zip(("y", "x", "router", "gate_up", "down"), step(layer, x)))
    assert not gradients["gate_up"][3].any() and not gradients["down"][3].any() and gradients["down"].any()


@pytest.mark.parametrize("recipe", [None, "blockwise"])
def test_moe_does_not_depend_on_the_other_tokens(recipe):
    layer, x = moe(recipe), normal(60, MODEL)
    y = layer(x)
    shuffled = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    assert torch.equal(layer(x[shuffled]), y[shuffled]) and torch.equal(layer(x[7:9]), y[7:9])
    assert layer(x[:0]).shape == (0, MODEL)


@pytest.mark.parametrize("recipe", [None, "blockwise", "channelwise"])
def test_moe_compiled_checkpointed_and_repeated_gives_the_same_bits(recipe):
    torch._dynamo.reset()
    layer, x = moe(recipe), normal(3, 40, MODEL)
    expected = step(layer, x)
    assert equal(step(layer, x), expected)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for words in ({}, {"is_first_microbatch": True}, {"is_first_microbatch": False}):
        assert equal(step(compiled, x, **words), expected)
    layer.zero_grad()
    leaf = x.clone().requires_grad_()
    y = checkpoint(layer, leaf, use_reentrant=False)
    y.square().mean().backward()
    assert equal([y.detach(), leaf.grad, *(p.grad for p in layer.parameters())], expected)


@pytest.mark.parametrize("x_dtype, dtype", [("bfloat16", "float32"), ("float32", "bfloat16"), ("float16", "float16")])
@pytest.mark.parametrize("recipe", ["bf16", "blockwise"])
def test_moe_of_mixed_types(recipe, x_dtype, dtype):
    """The router's product takes both as float32."""
    layer, x = moe(recipe, dtype=getattr(torch, dtype)), normal(40, MODEL).to(getattr(torch, x_dtype))
    weights, experts = layer.route(x)
    exact = (x.double() @ layer.router.weight.double().T).softmax(-1).topk(TOP)
    assert torch.equal(experts, exact.indices)
    torch.testing.assert_close(weights.double(), exact.values / exact.values.sum(-1, keepdim=True), rtol=1e-5, atol=0)
    y, *gradients = step(layer, x)
    assert y.dtype == x.dtype and [grad.dtype for grad in gradients] == [x.dtype, *(p.dtype for p in layer.parameters())]


def test_a_router_is_a_module_like_others():
    """Its hooks run, and another one may take its place."""
    layer, x, seen = moe(), normal(3, 5, MODEL), []
    y = layer(x)
    assert y._base is None
    layer.router.register_forward_hook(lambda module, inputs, logits: seen.append(logits))
    layer(x)
    assert [logits.shape for logits in seen] == [(15, EXPERTS)] and seen[0].dtype == torch.float32
    other = torch.nn.Linear(MODEL, EXPERTS)
    with torch.no_grad():
        other.weight.copy_(layer.router.weight)
        other.bias.copy_(torch.arange(EXPERTS) * 100.0)
    layer.router = other
    assert layer.route(x.flatten(0, 1))[1].equal(torch.tensor([[EXPERTS - 1, EXPERTS - 2]]).expand(15, 2))
    layer(x).sum().backward()
    assert other.bias.grad is not None and layer(x[0, 0]).shape == (MODEL,)


def test_a_scaled_tensor_through_a_layer():
    layer, x = linear(), normal(ROWS, INNER)
    y = layer(rt.quantize(x, (1, 128)), offs())
    assert torch.equal(y, layer(x, offs()).bfloat16())


def test_moe_under_autocast():
    layer, x = moe(), normal(40, MODEL)
    with torch.autocast("cpu", torch.bfloat16):
        y, *gradients = step(layer, x)
    assert y.dtype == torch.bfloat16 and all(grad.dtype == torch.float32 for grad in gradients)


def test_state_is_ordinary(tmp_path):
    layer, x = moe(), normal(40, MODEL)
    expected = layer(x)
    assert list(layer.state_dict()) == ["router.weight", "gate_up.weight", "down.weight"] and not list(layer.buffers())
    torch.save(layer.state_dict(), tmp_path / "state.pt")
    with torch.device("meta"):
        empty = rt.MoE(MODEL, HIDDEN, EXPERTS, TOP)
    empty.load_state_dict(torch.load(tmp_path / "state.pt"), assign=True)
    assert torch.equal(empty(x), expected) and torch.equal(copy.deepcopy(layer)(x), expected)
    torch.save(layer, tmp_path / "layer.pt")
    loaded = torch.load(tmp_path / "layer.pt", weights_only=False)
    assert loaded.down._kept.copies is None and layer.down._kept.copies is not None and torch.equal(loaded(x), expected)
    assert "e4m3" in repr(layer)


WHOLE_BLOCKS = 160  # columns, which can be packed
FEW, FEW_ENDS = 100, torch.tensor([30, 30, 60, 61, 98], dtype=torch.int32)


@pytest.mark.parametrize("recipe", RECIPES[1:], ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_inference_with_few_rows_packs_the_weight_once(recipe, bias, counted):
    layer, x = linear(recipe, WHOLE_BLOCKS, bias=bias).bfloat16(), normal(FEW, INNER, dtype=torch.bfloat16)
    expected = rt.grouped_mm(x, layer.weight.mT, FEW_ENDS, layer.bias, recipe=recipe)
    packed = []
    with torch.no_grad():
        for _ in range(4):
            assert torch.equal(layer(x, FEW_ENDS), expected)
            packed.append(_packed.is_packed(layer._kept.copies.operands[0][0]))
        assert torch.equal(layer(x.float(), FEW_ENDS).float(), rt.grouped_mm(x.float(), layer.weight.mT, FEW_ENDS, layer.bias, recipe=recipe))
    assert packed == [False, True, True, True] and len(counted) == 1, "by the second call that they serve"
    assert len(step(layer, x, FEW_ENDS)) == 3 + bias and len(counted) == 2, "no packed copy serves gradients"
    with torch.no_grad():
        layer.weight.mul_(2)
        assert torch.equal(layer(x, FEW_ENDS), rt.grouped_mm(x, layer.weight.mT, FEW_ENDS, layer.bias, recipe=recipe)) and len(counted) == 3


@pytest.mark.parametrize("outer, rows", [(WHOLE_BLOCKS, 64), (OUTER, 1)])
def test_many_rows_and_parts_of_blocks_are_not_packed(outer, rows):
    layer = linear(outer=outer).bfloat16()
    x, ends = normal(rows * GROUPS, INNER, dtype=torch.bfloat16), torch.arange(rows, rows * GROUPS + 1, rows, dtype=torch.int32)
    with torch.no_grad():
        for _ in range(3):
            layer(x, ends)
    assert not _packed.is_packed(layer._kept.copies.operands[0][0])


def test_a_trace_holds_no_packed_weights():
    """It runs again when the weight has changed."""
    layer, x = linear(outer=WHOLE_BLOCKS).bfloat16(), normal(FEW, INNER, dtype=torch.bfloat16)
    with torch.no_grad():
        for _ in range(2):
            expected = layer(x, FEW_ENDS)
        for _ in range(2):
            traced = torch.jit.trace(layer, (x, FEW_ENDS))
            assert torch.equal(traced(x, FEW_ENDS), expected)
            layer.weight.mul_(2)
            expected = layer(x, FEW_ENDS)
            assert torch.equal(traced(x, FEW_ENDS), expected)


def test_packed_weights_of_another_shape_are_refused():
    layer, x = linear(outer=WHOLE_BLOCKS).bfloat16(), normal(FEW, INNER, dtype=torch.bfloat16)
    with torch.no_grad():
        for _ in range(2):
            layer(x, FEW_ENDS)
    values, scales, grid = layer._kept.copies.operands[0]
    with pytest.raises(ValueError, match=r"gmm: rhs is torch.float8_e4m3fn \[5, 5, 70, 64\]; packed weights are \[L, N / 32, K, 32\] of"):
        torch.ops.ragdot.gmm.scaled(x, values.reshape(5, 5, 70, 64), FEW_ENDS, None, scales, [0, 0, 0, *grid])
