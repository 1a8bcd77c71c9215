"""Small models of Hugging Face transformers, of every way in which experts are stored."""

import torch
import transformers

SIZES = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
FAMILIES = {
    "qwen3_moe": {"moe_intermediate_size": 96, "num_experts": 8, "num_experts_per_tok": 2},
    "mixtral": {"intermediate_size": 96, "num_local_experts": 8, "num_experts_per_tok": 2},
    # Interleaved gate and up, stored [E, K, N], with biases and an activation of its own.
    "gpt_oss": {"intermediate_size": 96, "num_local_experts": 8, "num_experts_per_tok": 2},
    # A shared expert, groups of experts, sigmoid scores.
    "deepseek_v3": {"intermediate_size": 96, "moe_intermediate_size": 64, "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 2,
                    "topk_group": 1, "first_k_dense_replace": 1, "q_lora_rank": 32, "kv_lora_rank": 16, "qk_rope_head_dim": 16,
                    "qk_nope_head_dim": 16, "v_head_dim": 16, "num_key_value_heads": 4},
}  # fmt: skip
TOKENS = torch.arange(48).reshape(2, 24) * 7 % SIZES["vocab_size"]


def model_of(family: str, dtype: torch.dtype = torch.float32, **sizes: int) -> torch.nn.Module:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(family, **{**SIZES, **FAMILIES[family], **sizes})
    return transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)


def experts_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    return [module for module in model.modules() if hasattr(module, "is_transposed")]
