"""Models of Hugging Face transformers whose experts are FP8, saved and loaded: the bits of the same model in memory."""

import json

import pytest
import torch
import transformers
from families import FAMILIES, TOKENS, experts_of, model_of
from safetensors.torch import load_file, save_file
from transformers.quantizers import quantizer_finegrained_fp8
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

import ragdot.torch as rt
import ragdot.transformers as door
from ragdot.torch._packed import unpack

LOAD = transformers.AutoModelForCausalLM.from_pretrained
RECIPES = {"blockwise": "blockwise", "mx": "mx", "64x32": rt.Recipe(block=64, weight_block=32)}


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_loaded_model_has_the_bits_of_one_in_memory(family, recipe, tmp_path):
    config = door.RagdotConfig(RECIPES[recipe])
    model = model_of(family, torch.bfloat16)
    model.save_pretrained(tmp_path / "numbers")
    door.register("of_this_test", RECIPES[recipe])
    model.set_experts_implementation("of_this_test")
    expected = logits(model)
    loaded = {"while it was loaded": LOAD(tmp_path / "numbers", quantization_config=config)}
    door.quantize_experts(model)
    for name, saved in (("in memory", model), ("once more", loaded["while it was loaded"])):
        saved.save_pretrained(tmp_path / name)
        loaded[name] = LOAD(tmp_path / name)
    for name, each in loaded.items():
        experts = experts_of(each)[0]
        assert torch.equal(logits(each), expected), name
        assert experts.down_proj.dtype == torch.float8_e4m3fn and experts.down_proj.ndim == 4, name
        assert not any(p.requires_grad for what, p in experts.named_parameters(recurse=False) if "bias" not in what), name
        assert each.lm_head.weight.dtype == torch.bfloat16, name
    said = json.loads((tmp_path / "once more" / "config.json").read_text())["quantization_config"]
    assert said["quant_method"] == "ragdot" and said["packed"] is True
    assert said["recipe"] == recipe or said["recipe"]["weight_block"] == 32
    stored = load_file(tmp_path / "once more" / "model.safetensors")
    codes = [tensor for name, tensor in stored.items() if tensor.dtype == torch.float8_e4m3fn]
    assert codes and all(tensor.ndim < 4 for tensor in codes)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_part_of_a_model_may_be_quantised_and_the_whole_saved(family, tmp_path):
    """The whole knows nothing of it but what its config says."""
    model = model_of(family, torch.bfloat16)
    model.set_experts_implementation("ragdot_blockwise")
    expected = logits(model)
    door.quantize_experts(model.model)
    model.save_pretrained(tmp_path)
    loaded = LOAD(tmp_path)
    assert experts_of(loaded)[0].down_proj.ndim == 4 and torch.equal(logits(loaded), expected)
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    for name in ("moe_intermediate_size", "intermediate_size"):
        setattr(config, name, 128)
    with pytest.raises(ValueError, match=r"from_pretrained: gate_up_proj of the experts is \[8, .*\] in the checkpoint and \[8, .*\] in the model"):
        LOAD(tmp_path, config=config, ignore_mismatched_sizes=True)


def test_what_the_caller_says_of_a_model_that_is_loaded(tmp_path):
    model_of("qwen3_moe", torch.bfloat16).save_pretrained(tmp_path)
    plain = LOAD(tmp_path, quantization_config=door.RagdotConfig(packed=False), experts_implementation="ragdot")
    assert plain.config._experts_implementation == "ragdot" and experts_of(plain)[0].down_proj.ndim == 3
    other = LOAD(tmp_path, quantization_config=door.RagdotConfig("mx"), experts_implementation="eager")
    assert other.config._experts_implementation == "ragdot_mx"
    assert '"recipe": "mx"' in repr(other.config.quantization_config)


def test_refusals(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="RagdotConfig: recipe is 'bf16', which quantises no weights; give blockwise or another FP8 recipe"):
        door.RagdotConfig("bf16")
    with pytest.raises(TypeError, match="recipie"):
        door.RagdotConfig(recipie="mx")
    both = model_of("qwen3_moe", torch.bfloat16)
    both.set_experts_implementation("ragdot_blockwise")
    both.hf_quantizer = door._quantizer.RagdotQuantizer(door.RagdotConfig())  # as of another method, for what lies around the experts
    door.quantize_experts(both)
    with pytest.raises(NotImplementedError, match="save_pretrained: the experts are FP8 by several recipes, or another method"):
        both.save_pretrained(tmp_path)
    monkeypatch.setattr(door._quantizer, "SAVES", False)
    for call in (door.RagdotConfig, door.keep_fp8_experts):
        with pytest.raises(NotImplementedError, match=f"{call.__name__}: transformers is .*; it needs 5.24 or later"):
            call()
    old = model_of("qwen3_moe", torch.bfloat16)
    old.set_experts_implementation("ragdot_blockwise")
    door.quantize_experts(old)
    with pytest.raises(NotImplementedError, match="or transformers is older than 5.24; keep the state_dict"):
        old.save_pretrained(tmp_path)


def fp8_checkpoint(path, scale_fmt: str, inner: int = 128, **said) -> dict[str, torch.Tensor]:
    """As they are published: every linear layer in FP8, each expert on its own. Returns its tensors."""
    model = model_of("qwen3_moe", torch.bfloat16, hidden_size=256, head_dim=64, moe_intermediate_size=inner)
    model.save_pretrained(path)
    how = {"scaling": "pow2", "scale_format": "e8m0"} if scale_fmt == "ue8m0" else {}
    tensors = {}
    for name, tensor in load_file(path / "model.safetensors").items():
        if "proj" in name:
            codes = rt.quantize(tensor, (128, 128), **how)
            tensors |= {name: codes.values, f"{name}_scale_inv": codes.scales}
        else:
            tensors[name] = tensor
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    config = json.loads((path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128], "scale_fmt": scale_fmt,
                                     "modules_to_not_convert": ["lm_head"], **said}  # fmt: skip
    (path / "config.json").write_text(json.dumps(config))
    return tensors


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(quantizer_finegrained_fp8, "is_accelerate_available", lambda: True)  # which is asked for, and not used
    monkeypatch.setitem(AUTO_QUANTIZER_MAPPING, "fp8", AUTO_QUANTIZER_MAPPING["fp8"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU transformers keeps FP8 itself")
@pytest.mark.parametrize("scale_fmt", ["float", "ue8m0"])
def test_experts_of_fp8_checkpoints_stay_fp8(own_registry, scale_fmt, tmp_path):
    tensors = fp8_checkpoint(tmp_path / "published", scale_fmt)
    numbers = LOAD(tmp_path / "published", experts_implementation="eager")
    door.keep_fp8_experts()
    model = LOAD(tmp_path / "published")
    experts = experts_of(model)[0]
    for expert in (0, 7):
        for name, weight in (("gate", experts.gate_up_proj), ("up", experts.gate_up_proj), ("down", experts.down_proj)):
            stored = tensors[f"model.layers.0.mlp.experts.{expert}.{name}_proj.weight"]
            codes = unpack(weight)[expert].T[128 if name == "up" else 0 :][: len(stored)]
            assert torch.equal(codes.contiguous().view(torch.uint8), stored.view(torch.uint8))
    assert torch.equal(experts.down_proj_scale_inv[7].float(), tensors["model.layers.0.mlp.experts.7.down_proj.weight_scale_inv"].float())
    assert model.model.layers[0].self_attn.q_proj.weight.dtype == torch.bfloat16
    expected, found = logits(numbers).float(), logits(model).float()
    assert 0 < float((found - expected).norm() / expected.norm()) < 0.1
    model.save_pretrained(tmp_path / "again")
    assert torch.equal(logits(LOAD(tmp_path / "again")), logits(model))


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU transformers keeps FP8 itself")
@pytest.mark.parametrize("inner, said", [(96, {}), (128, {"modules_to_not_convert": ["lm_head", "experts"]}), (128, {"activation_scheme": "static"})],
                         ids=["blocks straddle gate and up", "experts are numbers", "scales of activations"])  # fmt: skip
def test_other_checkpoints_are_dequantised_as_before(own_registry, inner, said, tmp_path):
    door.keep_fp8_experts()
    fp8_checkpoint(tmp_path, "float", inner, **said)
    model = LOAD(tmp_path)
    assert experts_of(model)[0].down_proj.dtype == torch.bfloat16
    assert getattr(model, "hf_quantizer", None) is None
