"""The experts of Hugging Face transformers: against its own implementation, for every way in which a model may store them."""

import copy
import gc
import importlib
import types
import weakref

import pytest
import torch
from families import FAMILIES, TOKENS, experts_of, model_of
from transformers.integrations.finegrained_fp8 import ALL_FP8_EXPERTS_FUNCTIONS, FP8Experts
from transformers.integrations.moe import use_experts_implementation

import ragdot.torch as rt
import ragdot.transformers as door
from ragdot._recipes import RECIPES
from ragdot.torch import _kept


def routed(tokens: int, experts: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What experts are called with."""
    torch.manual_seed(1)
    return torch.randn(tokens, 64), torch.randint(experts, (tokens, 2)), torch.rand(tokens, 2)


def through(experts: torch.nn.Module, implementation: str, x: torch.Tensor, *routes: torch.Tensor) -> list[torch.Tensor]:
    """The result, and the gradient of x."""
    experts.config._experts_implementation = implementation
    leaf = x.clone().requires_grad_()
    y = experts(leaf, *routes)
    y.square().sum().backward()
    return [y.detach(), leaf.grad]


def step(model: torch.nn.Module, implementation: str) -> list[torch.Tensor]:
    """Logits and all gradients."""
    model.set_experts_implementation(implementation)
    model.zero_grad()
    logits = model(TOKENS).logits
    logits.float().square().mean().backward()
    return [logits.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]


def apart(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    """The largest relative distance of two tensors."""
    assert len(a) == len(b)
    return max(float((x - y).norm() / y.norm().clamp(min=1e-20)) for x, y in zip(a, b))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_numbers_are_those_of_the_eager_experts(family):
    model = model_of(family)
    assert experts_of(model)
    eager = step(model, "eager")
    assert apart(step(model, "ragdot"), eager) < 2e-5
    assert 2e-5 < apart(step(model, "ragdot_bf16"), eager) < 0.05


@pytest.mark.parametrize("family", ["qwen3_moe", "gpt_oss"])
@pytest.mark.parametrize("recipe", [name for name, recipe in RECIPES.items() if recipe.quantizes])
def test_recipes_quantise_what_the_experts_multiply(family, recipe):
    model = model_of(family)
    eager, ours = step(model, "eager"), step(model, f"ragdot_{recipe}")
    assert 1e-4 < apart(ours[:1], eager[:1]) < 0.1 and apart(ours, eager) < 0.4
    assert all(torch.equal(x, y) for x, y in zip(step(model, f"ragdot_{recipe}"), ours))


@pytest.mark.parametrize("implementation", ["ragdot", "ragdot_blockwise"])
def test_a_token_has_the_bits_that_it_has_alone(implementation):
    experts = experts_of(model_of("qwen3_moe", torch.bfloat16))[0]
    experts.config._experts_implementation = implementation
    x, scores = torch.randn(40, 64).bfloat16(), torch.rand(40, 8)
    weights, chosen = scores.topk(2)
    with torch.no_grad():
        together = experts(x, chosen, weights)
        assert all(torch.equal(experts(x[i : i + 1], chosen[i : i + 1], weights[i : i + 1])[0], together[i]) for i in range(40))


def test_experts_of_other_processes_are_left_out():
    """Their numbers follow those of this process's experts, with weights of zero."""
    experts = experts_of(model_of("gpt_oss"))[0]
    x, chosen, weights = routed(9, 9)
    routes = chosen, weights.masked_fill(chosen == 8, 0)
    experts._is_expert_parallel = True
    assert (chosen == 8).any() and apart(through(experts, "ragdot", x, *routes), through(experts, "grouped_mm", x, *routes)) < 2e-5


@pytest.mark.parametrize("path, sizes", [
    ("aria.modeling_aria.AriaExperts", {"moe_num_experts": 8, "intermediate_size": 96}),  # stored [E, K, N]
    ("nemotron_h.modeling_nemotron_h.NemotronHExperts",  # no gate
     {"n_routed_experts": 8, "moe_intermediate_size": 96, "moe_latent_size": None, "mlp_hidden_act": "relu2"}),
    ("muse_spark.modeling_muse_spark.MuseSparkExperts",  # a norm behind each expert
     {"num_local_experts": 8, "moe_hidden_size": 64, "moe_intermediate_size": 96, "hidden_act": "silu", "post_norm_eps": 1e-6}),
], ids=["aria", "nemotron_h", "muse_spark"])  # fmt: skip
def test_every_form_of_experts(path, sizes):
    module, name = path.rsplit(".", 1)
    kind = getattr(importlib.import_module(f"transformers.models.{module}"), name)
    experts = kind(types.SimpleNamespace(hidden_size=64, **sizes))
    torch.manual_seed(0)
    for parameter in experts.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    eager = through(experts, "eager", *routed(20))
    assert apart(through(experts, "ragdot", *routed(20)), eager) < 2e-5
    blockwise = through(experts, "ragdot_blockwise", *routed(20))
    assert 1e-3 < apart(blockwise, eager) < 0.3
    assert door.quantize_experts(experts) == 2 and torch.equal(through(experts, "ragdot_blockwise", *routed(20))[0], blockwise[0])


def test_weights_are_quantised_once_until_they_change(monkeypatch):
    calls, original = [], _kept.weight_operands
    monkeypatch.setattr(_kept, "weight_operands", lambda *given: calls.append(given) or original(*given))
    model = model_of("qwen3_moe")
    model.set_experts_implementation("ragdot_blockwise")
    with torch.no_grad():
        first = model(TOKENS).logits
        assert torch.equal(model(TOKENS).logits, first) and len(calls) == 4
    model.set_experts_implementation("ragdot_mx")
    with torch.no_grad():
        assert not torch.equal(model(TOKENS).logits, first) and len(calls) == 8
    model.set_experts_implementation("ragdot_blockwise")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(TOKENS).logits.square().mean().backward()
    optimizer.step()
    fresh = copy.deepcopy(model)
    with torch.no_grad():
        assert torch.equal(model(TOKENS).logits, fresh(TOKENS).logits) and not torch.equal(model(TOKENS).logits, first)


def test_nothing_is_kept_where_weights_may_be_gathered_from_shards(monkeypatch):
    model = model_of("qwen3_moe")
    model.set_experts_implementation("ragdot_blockwise")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    with torch.no_grad():
        model(TOKENS)
    assert not any(experts in door._experts._kept for experts in experts_of(model))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_quantised_experts_have_the_same_results(family, packed):
    model = model_of(family, torch.bfloat16).requires_grad_(False)
    with pytest.raises(ValueError, match="has the implementation .*, which quantises no weights; call"):
        door.quantize_experts(model)
    model.set_experts_implementation("ragdot_blockwise")
    expected, count = model(TOKENS).logits, 2 * len(experts_of(model))
    assert door.quantize_experts(model, packed) == count and door.quantize_experts(model) == 0
    with pytest.raises(ValueError, match="quantize_experts: the model has no experts of transformers; for layers of ragdot.torch"):
        door.quantize_experts(torch.nn.Linear(2, 2))
    assert torch.equal(model(TOKENS).logits, expected)
    experts = experts_of(model)[0]
    assert experts.down_proj.dtype == torch.float8_e4m3fn and experts.down_proj_scale_inv.dtype == torch.float32
    assert experts.down_proj.ndim == 3 + packed
    model.set_experts_implementation("ragdot")  # activations as they come
    assert 0 < float((model(TOKENS).logits - expected).float().norm() / expected.float().norm()) < 0.1
    x = torch.randn(5, 64, dtype=torch.bfloat16, requires_grad=True)
    experts(x, torch.randint(8, (5, 2)), torch.rand(5, 2)).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("family", ["qwen3_moe", "gpt_oss"])  # stored [E, N, K] and [E, K, N]
@pytest.mark.parametrize("recipe", ["blockwise", "channelwise"])  # blocks that are square, and that are not
def test_gradients_through_packed_experts(family, recipe):
    """Compiled too, and where a trainer has asked for gradients of all that there is."""
    torch.compiler.reset()  # its programs are counted by function
    made = []
    for packed in (False, True):
        model = model_of(family, torch.bfloat16)
        model.set_experts_implementation(f"ragdot_{recipe}")
        door.quantize_experts(model, packed)
        experts = experts_of(model)[0]
        assert experts.down_proj.ndim == 3 + packed
        for wanted in (False, True):
            experts.requires_grad_(wanted)
            for run in (experts, torch.compile(experts, fullgraph=True, backend="aot_eager")):
                torch.manual_seed(1)
                x, routes = torch.randn(20, 64, dtype=torch.bfloat16, requires_grad=True), routed(20)[1:]
                run(x, *routes).float().square().sum().backward()
                assert experts.down_proj.grad is None and x.grad.any()
                made.append(x.grad)
    assert all(torch.equal(gradient, made[0]) for gradient in made)


def test_what_is_quantised_is_not_kept_besides():
    model = model_of("qwen3_moe", torch.bfloat16)
    model.set_experts_implementation("ragdot_blockwise")
    with torch.no_grad():
        expected = model(TOKENS).logits
    experts = experts_of(model)
    weights = [weakref.ref(layer.down_proj) for layer in experts]
    assert all(layer in door._experts._kept for layer in experts)
    door.quantize_experts(model)
    gc.collect()
    assert not any(weight() for weight in weights) and not any(layer in door._experts._kept for layer in experts)
    model.to(torch.float32)
    with pytest.raises(ValueError, match="ragdot: the codes of gate_up_proj became torch.float32, which are no weights; quantise the model in its"):
        model(TOKENS)
    assert expected.isfinite().all()


def test_models_and_weights_are_not_kept_alive():
    model = model_of("qwen3_moe")
    model.set_experts_implementation("ragdot_blockwise")
    layer = experts_of(model)[0]
    layer.down_proj.register_hook(lambda grad, layer=layer: grad)  # a way from the weight to the module
    with torch.no_grad():
        model(TOKENS)
        kept = door._experts._kept[layer]["down_proj"]
        layer.gate_up_proj = torch.nn.Parameter(layer.gate_up_proj.clone())  # as where weights are loaded for each use
        gc.collect()
        assert kept.copies is not None and door._experts._kept[layer]["gate_up_proj"].copies is None
    gone = weakref.ref(layer)
    del model, layer, kept
    gc.collect()
    assert gone() is None


def test_computed_weights_are_quantised_in_each_call_and_not_kept():
    """As adapters make them by parametrisation."""
    model = model_of("qwen3_moe")
    model.set_experts_implementation("ragdot_blockwise")
    layer = experts_of(model)[0]

    class Twice(torch.nn.Module):
        def forward(self, weight):
            return 2 * weight

    torch.nn.utils.parametrize.register_parametrization(layer, "down_proj", Twice())
    model(TOKENS)
    assert door._experts._kept[layer]["down_proj"].copies is None and door._experts._kept[layer]["gate_up_proj"].copies is not None
    with pytest.raises(ValueError, match=r"layers.0.mlp.experts.down_proj is parametrised; remove or merge what computes it first"):
        door.quantize_experts(model)
    assert all(layer.gate_up_proj.dtype == torch.float32 for layer in experts_of(model))


def test_autocast_changes_no_weight_that_is_quantised(monkeypatch):
    model = model_of("qwen3_moe").requires_grad_(False)
    model.set_experts_implementation("ragdot_blockwise")
    results = []
    with torch.autocast("cpu", torch.bfloat16):
        results.append(model(TOKENS).logits)
        with monkeypatch.context() as patched:
            patched.setattr(door._experts, "_may_keep", lambda: False)
            results.append(model(TOKENS).logits)
        door.quantize_experts(model)
        results.append(model(TOKENS).logits)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.parametrize("block", [(128, 128), None], ids=str)
def test_fp8_experts_of_transformers(block):
    """Its class for FP8 checkpoints, whose own implementations need a GPU."""
    config = model_of("qwen3_moe").config
    made = use_experts_implementation(FP8Experts, experts_interface=ALL_FP8_EXPERTS_FUNCTIONS)(config, block)
    exact = experts_of(model_of("qwen3_moe"))[0]
    for name in ("gate_up_proj", "down_proj"):
        weight, scales = getattr(exact, name).detach(), getattr(made, f"{name}_scale_inv")
        codes = rt.quantize(weight, block or (weight.shape[1] // scales.shape[1], None))
        getattr(made, name).data = codes.values
        assert scales.shape == codes.scales.shape
        scales.data = codes.scales
    exact.config = config
    ours, eager = (through(experts, how, *routed(20)) for experts, how in ((made, "ragdot_blockwise"), (exact, "eager")))
    assert apart(ours, eager) < 0.1
    assert torch.equal(ours[0], through(exact, "ragdot_blockwise", *routed(20))[0]) == (block is not None)
    assert apart(through(made, "ragdot", *routed(20)), eager) < 0.1
    made.down_proj = torch.nn.Parameter(torch.zeros(8, 64, 48, dtype=torch.int8), requires_grad=False)
    with pytest.raises(NotImplementedError, match="int8, packed FP4, which is not offered"):
        through(made, "ragdot", *routed(20))
    made.activation_scheme = "static"
    with pytest.raises(NotImplementedError, match="activation_scheme is 'static'"):
        through(made, "ragdot", *routed(20))


def test_compiled_models_follow_the_implementation():
    model = model_of("qwen3_moe").requires_grad_(False)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for implementation in ("ragdot_blockwise", "ragdot_mx", "ragdot", "ragdot_blockwise"):
        model.set_experts_implementation(implementation)
        assert torch.equal(compiled(TOKENS).logits, model(TOKENS).logits)
    for packed in (False, True):
        quantised = copy.deepcopy(model)
        door.quantize_experts(quantised, packed)
        assert torch.equal(torch.compile(quantised, fullgraph=True, backend="aot_eager")(TOKENS).logits, model(TOKENS).logits)


def test_autocast_generation_and_registration():
    model = model_of("qwen3_moe")
    door.register("e5m2_experts", rt.Recipe("e5m2"))
    model.set_experts_implementation("e5m2_experts")
    with torch.autocast("cpu", torch.bfloat16):
        assert model(TOKENS).logits.isfinite().all()
    assert model.generate(TOKENS, max_new_tokens=3).shape == (2, 27)
    with pytest.raises(ValueError, match="register: recipe is 'fp4'; give a Recipe or one of"):
        door.register("fp4_experts", "fp4")
    for name in ("eager", "grouped_mm"):
        with pytest.raises(ValueError, match=f"register: '{name}' is an implementation of transformers; take another name"):
            door.register(name, "mx")
