# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Converts dense ERNIE 4.5 models: Llama layers that rotate adjacent values."""

from typing import Any

import torch
from megatron.core.models.gpt.gpt_model import GPTModel

from megatron.bridge.models.conversion.mapping_registry import MegatronMappingRegistry
from megatron.bridge.models.conversion.model_bridge import MegatronModelBridge
from megatron.bridge.models.conversion.param_mapping import AutoMapping, GatedMLPMapping, QKVMapping
from megatron.bridge.models.gpt_provider import GPTModelProvider


_MEGATRON, _HF = "decoder.layers.*", "model.layers.*"
# Values that do not depend on the config.
_PROVIDER = {
    "attention_dropout": 0.0,
    "autocast_dtype": torch.bfloat16,
    "gated_linear_unit": True,
    "hidden_dropout": 0.0,
    "normalization": "RMSNorm",
    "rotary_interleaved": True,
}
# Parameters that are equal to one tensor of Hugging Face.
_EQUAL = {
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
    "output_layer.weight": "lm_head.weight",
    f"{_MEGATRON}.self_attention.linear_qkv.layer_norm_weight": f"{_HF}.input_layernorm.weight",
    f"{_MEGATRON}.self_attention.linear_proj.weight": f"{_HF}.self_attn.o_proj.weight",
    f"{_MEGATRON}.self_attention.linear_proj.bias": f"{_HF}.self_attn.o_proj.bias",
    f"{_MEGATRON}.mlp.linear_fc1.layer_norm_weight": f"{_HF}.post_attention_layernorm.weight",
    f"{_MEGATRON}.mlp.linear_fc2.weight": f"{_HF}.mlp.down_proj.weight",
    f"{_MEGATRON}.mlp.linear_fc2.bias": f"{_HF}.mlp.down_proj.bias",
}


@MegatronModelBridge.register_bridge(source="Ernie4_5ForCausalLM", target=GPTModel, model_type="ernie4_5")
# The decorator is annotated for an instance.
class Ernie45DenseBridge(MegatronModelBridge[Any, GPTModelProvider, GPTModel]):  # type: ignore[type-var,unused-ignore]
    """Bridge of `Ernie4_5ForCausalLM`."""

    CONFIG_MAPPING = MegatronModelBridge.CONFIG_MAPPING + [("use_bias", "add_bias_linear")]

    def provider_bridge(self, hf_pretrained: Any) -> Any:
        """See `MegatronModelBridge.provider_bridge`."""
        provider = super().provider_bridge(hf_pretrained)
        for name, value in _PROVIDER.items():
            setattr(provider, name, value)
        return provider

    def mapping_registry(self) -> MegatronMappingRegistry:
        """See `MegatronModelBridge.mapping_registry`."""
        mappings: list[Any] = [AutoMapping(megatron_param=megatron, hf_param=hf) for megatron, hf in _EQUAL.items()]
        for kind in ("weight", "bias"):
            mappings += [
                QKVMapping(
                    f"{_MEGATRON}.self_attention.linear_qkv.{kind}",
                    **{name: f"{_HF}.self_attn.{name}_proj.{kind}" for name in "qkv"},
                ),
                GatedMLPMapping(
                    f"{_MEGATRON}.mlp.linear_fc1.{kind}",
                    **{name: f"{_HF}.mlp.{name}_proj.{kind}" for name in ("gate", "up")},
                ),
            ]
        return MegatronMappingRegistry(*mappings)
