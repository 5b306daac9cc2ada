# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Tiny random models, and the values that a Llama's weights must have in Megatron-LM."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from architectures import ARCHITECTURES
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DeepseekV2Config,
    DeepseekV3Config,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MixtralConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
)


_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    # Megatron-LM's builder passes no factor on and has 8 as its default.
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_PLAIN_ROPE = {"rope_type": "default", "rope_theta": 10000.0}

# What the names stress: grouped-query attention, tied and untied embeddings, rope scaling, padding.
TINY_LLAMAS = {
    "gqa-tied": dict(vocab_size=512, num_key_value_heads=2, tie_word_embeddings=True, rope_parameters=_PLAIN_ROPE),
    "gqa-untied": dict(vocab_size=512, num_key_value_heads=2, tie_word_embeddings=False, rope_parameters=_PLAIN_ROPE),
    "llama3-rope": dict(
        vocab_size=512,
        num_key_value_heads=4,
        tie_word_embeddings=True,
        rope_parameters=_LLAMA3_ROPE,
        max_position_embeddings=131072,
    ),
    "padded-vocabulary": dict(
        vocab_size=500, num_key_value_heads=2, tie_word_embeddings=False, rope_parameters=_PLAIN_ROPE
    ),
    "eight-heads": dict(
        vocab_size=500,
        num_attention_heads=8,
        head_dim=8,
        num_key_value_heads=8,
        tie_word_embeddings=True,
        rope_parameters=_PLAIN_ROPE,
    ),
}

# The shape of Llama 3.2 1B.
LLAMA_1B: dict[str, Any] = dict(
    vocab_size=128256,
    hidden_size=2048,
    intermediate_size=8192,
    num_hidden_layers=16,
    num_attention_heads=32,
    num_key_value_heads=8,
    head_dim=64,
    max_position_embeddings=131072,
    tie_word_embeddings=True,
    rms_norm_eps=1e-5,
    rope_parameters=_LLAMA3_ROPE | {"factor": 32.0},
)

SIZES = dict(
    vocab_size=500,
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=2048,
    rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
)
DENSE = SIZES | dict(intermediate_size=96, num_key_value_heads=2)
EXPERTS = dict(moe_intermediate_size=32, num_experts_per_tok=2)
_LATENT = dict(
    num_key_value_heads=4, q_lora_rank=24, kv_lora_rank=16, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16
)


# Tied, and with a vocabulary that two ranks cannot share evenly.
ODD_LLAMA = DENSE | dict(vocab_size=517, tie_word_embeddings=True)


class Family(NamedTuple):
    """A model family.

    Args:
        config: A tiny config of it.
        forgotten: Arguments that Megatron-LM parses and its builder of models does not take.
    """

    config: PretrainedConfig
    forgotten: tuple[str, ...] = ()


# The families that people fine-tune, each with what is its own.
FAMILIES = {
    "Llama 2": Family(LlamaConfig(**DENSE | dict(num_key_value_heads=4, rms_norm_eps=1e-5))),
    "Llama 3.1 (rope scaling)": Family(LlamaConfig(**DENSE | dict(rope_parameters=_LLAMA3_ROPE))),
    "Llama 3.2 (rope scaling, tied)": Family(
        LlamaConfig(**DENSE | dict(rope_parameters=_LLAMA3_ROPE | {"factor": 32.0}, tie_word_embeddings=True)),
        forgotten=("rope_scaling_factor",),
    ),
    "Mistral": Family(MistralConfig(**DENSE, head_dim=32, sliding_window=None)),
    "Mistral (sliding window)": Family(MistralConfig(**DENSE, head_dim=16, sliding_window=24)),
    "Qwen2 (QKV bias)": Family(Qwen2Config(**DENSE)),
    "Qwen2.5 (QKV bias, tied)": Family(Qwen2Config(**DENSE, tie_word_embeddings=True)),
    "Qwen3 (qk-norm)": Family(Qwen3Config(**DENSE, head_dim=32, tie_word_embeddings=True)),
    "Mixtral (experts)": Family(MixtralConfig(**DENSE, num_local_experts=4, num_experts_per_tok=2)),
    "Mixtral (experts, sliding window)": Family(
        MixtralConfig(**DENSE, head_dim=32, num_local_experts=4, sliding_window=24)
    ),
    "Qwen3-MoE (experts, qk-norm)": Family(Qwen3MoeConfig(**DENSE, **EXPERTS, head_dim=16, num_experts=4)),
    "DeepSeek-V2 (MLA, shared experts)": Family(
        DeepseekV2Config(**SIZES, **EXPERTS, **_LATENT, n_routed_experts=4, n_shared_experts=1)
    ),
    "DeepSeek-V3 (MLA, shared experts)": Family(
        DeepseekV3Config(
            **SIZES,
            **EXPERTS,
            **_LATENT,
            intermediate_size=96,
            n_routed_experts=4,
            n_shared_experts=1,
            first_k_dense_replace=1,
            n_group=2,
            topk_group=1,
        )
    ),
}


def make_tiny_llama(folder: Path, name: str, seed: int = 0) -> Path:
    """Write a random Llama of two layers with a tokenizer of its vocabulary."""
    sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, head_dim=16)
    return save_random_model(folder, LlamaConfig(**sizes | TINY_LLAMAS[name]), seed)


def save_random_model(
    folder: Path,
    config: PretrainedConfig,
    seed: int = 0,
    make: Callable[[PretrainedConfig], PreTrainedModel] = AutoModelForCausalLM.from_config,
) -> Path:
    """Write a model of random weights, bfloat16, with a tokenizer of its vocabulary."""
    torch.manual_seed(seed)
    model = make(config).to(torch.bfloat16)
    for parameter in model.parameters():
        # Norm weights are ones in a new model: a swap of two of them would not be seen.
        parameter.data = (parameter.data.float() + 0.1 * torch.randn(parameter.shape)).to(torch.bfloat16)
    for name, buffer in model.named_buffers():
        if name.endswith(("e_score_correction_bias", "mlp.expert_bias")):
            # Float32 in released models.
            buffer.data = torch.randn(buffer.shape) / 3
    model.save_pretrained(folder)
    return save_tokenizer(folder, config.get_text_config().vocab_size)


def save_architecture(folder: Path, name: str, **changes: Any) -> Path:
    """Write a random model of a real model's config, with that config.json and not the one that transformers writes.

    Args:
        folder: Its folder.
        name: Name in `ARCHITECTURES`.
        **changes: Fields of the config with other values.
    """
    values = ARCHITECTURES[name] | changes
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(values))
    config = AutoConfig.from_pretrained(folder)
    save_random_model(folder, config, make=getattr(transformers, values["architectures"][0]))
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def add_tensors(hf: Path, names: tuple[str, ...], copied: dict[str, str]) -> None:
    """Add tensors for multi-token prediction, which the classes of transformers do not have.

    Args:
        hf: Folder of a model.
        names: Names of the tensors.
        copied: Names of further tensors, with those of the tensors that they equal.
    """
    config = AutoConfig.from_pretrained(hf).get_text_config()
    tensors = load_file(hf / "model.safetensors")
    size, rows = config.hidden_size, config.vocab_size
    shapes = {"eh_proj": (size, 2 * size), "fc": (size, 2 * size), "embed_tokens": (rows, size), "head": (rows, size)}
    for name in names:
        parameter = name.split(".")[-2]
        tail = re.sub(r"^(model|mtp)\.layers\.\d+\.", "", name)
        # As in the last layer that has it.
        like = [tensors[other] for other in sorted(tensors) if other.endswith(f".{tail}")]
        shape = shapes.get(parameter) or (tuple(like[-1].shape) if like else (size,))
        dtype = like[-1].dtype if like else torch.bfloat16
        tensors[name] = (torch.randn(shape) * 0.1 + ("norm" in parameter)).to(dtype)
    tensors |= {name: tensors[other].clone() for name, other in copied.items()}
    save_file(tensors, hf / "model.safetensors", {"format": "pt"})


def save_tokenizer(folder: Path, size: int) -> Path:
    """Write a tokenizer of so many tokens."""
    # Some families' tokenizers add this one where it is not there.
    last = ("<|endoftext|>", "<eos>")
    words = [f"w{i}" for i in range(size - len(last))]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate((*words, *last))}, unk_token="w0"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", unk_token="w0").save_pretrained(folder)
    return folder


# Names of the norms of a layer, before the attention and the MLP, by the modules that the model is built from.
_NORMS = {
    "transformer_engine": ("self_attention.linear_qkv.layer_norm_weight", "mlp.linear_fc1.layer_norm_weight"),
    "local": ("input_layernorm.weight", "pre_mlp_layernorm.weight"),
}


def megatron_tensors(
    model: LlamaForCausalLM, padded_vocab_size: int, modules: str | None = None
) -> dict[str, torch.Tensor]:
    """Lay a Hugging Face Llama's weights out as Megatron-LM's model has them.

    Written from Megatron-LM's layout, not from the code under test: linear_qkv holds, for each query
    group, its query heads, its key and its value; linear_fc1 the gate above the up projection; the
    vocabulary is padded with zero rows.
    """
    config = model.config
    hf = {name: tensor.float() for name, tensor in model.state_dict().items()}
    groups, head = config.num_key_value_heads, config.head_dim
    if modules is None:
        # As `megatron_lm` builds it in this process.
        has_stand_in = getattr(sys.modules.get("transformer_engine"), "IS_STAND_IN", False)
        modules = "transformer_engine" if has_stand_in else "local"
    first_norm, second_norm = _NORMS[modules]

    def padded(tensor: torch.Tensor) -> torch.Tensor:
        return torch.cat([tensor, torch.zeros(padded_vocab_size - len(tensor), tensor.shape[1])])

    tensors = {
        "embedding.word_embeddings.weight": padded(hf["model.embed_tokens.weight"]),
        "decoder.final_layernorm.weight": hf["model.norm.weight"],
    }
    if not config.tie_word_embeddings:
        tensors["output_layer.weight"] = padded(hf["lm_head.weight"])
    for layer in range(config.num_hidden_layers):
        source, target = f"model.layers.{layer}.", f"decoder.layers.{layer}."
        q, k, v = (
            hf[f"{source}self_attn.{name}_proj.weight"].reshape(groups, -1, head, config.hidden_size) for name in "qkv"
        )
        mlp = [hf[f"{source}mlp.{name}_proj.weight"] for name in ("gate", "up")]
        tensors |= {
            f"{target}{first_norm}": hf[f"{source}input_layernorm.weight"],
            f"{target}self_attention.linear_qkv.weight": torch.cat([q, k, v], dim=1).reshape(-1, config.hidden_size),
            f"{target}self_attention.linear_proj.weight": hf[f"{source}self_attn.o_proj.weight"],
            f"{target}{second_norm}": hf[f"{source}post_attention_layernorm.weight"],
            f"{target}mlp.linear_fc1.weight": torch.cat(mlp),
            f"{target}mlp.linear_fc2.weight": hf[f"{source}mlp.down_proj.weight"],
        }
    return tensors
