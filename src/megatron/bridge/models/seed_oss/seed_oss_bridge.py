# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Converts Seed-OSS models: Llama layers with biases of query, key and value."""

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
    "autocast_dtype": torch.bfloat16,
    "gated_linear_unit": True,
    "normalization": "RMSNorm",
}
# Parameters that are equal to one tensor of Hugging Face.
_EQUAL = {
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
    "output_layer.weight": "lm_head.weight",
    f"{_MEGATRON}.self_attention.linear_qkv.layer_norm_weight": f"{_HF}.input_layernorm.weight",
    f"{_MEGATRON}.self_attention.linear_proj.weight": f"{_HF}.self_attn.o_proj.weight",
    f"{_MEGATRON}.mlp.linear_fc1.layer_norm_weight": f"{_HF}.post_attention_layernorm.weight",
    f"{_MEGATRON}.mlp.linear_fc2.weight": f"{_HF}.mlp.down_proj.weight",
}


@MegatronModelBridge.register_bridge(source="SeedOssForCausalLM", target=GPTModel, model_type="seed_oss")
# The decorator is annotated for an instance.
class SeedOssBridge(MegatronModelBridge[Any, GPTModelProvider, GPTModel]):  # type: ignore[type-var,unused-ignore]
    """Bridge of `SeedOssForCausalLM`."""

    CONFIG_MAPPING = MegatronModelBridge.CONFIG_MAPPING + [
        ("attention_out_bias", "add_bias_linear"),
        ("residual_dropout", "hidden_dropout"),
    ]

    def provider_bridge(self, hf_pretrained: Any) -> Any:
        """See `MegatronModelBridge.provider_bridge`."""
        config = hf_pretrained.config
        if config.attention_out_bias or config.mlp_bias:
            raise ValueError(
                f"attention_out_bias={config.attention_out_bias} and mlp_bias={config.mlp_bias} are not supported for "
                "SeedOssForCausalLM (expected False)"
            )
        provider = super().provider_bridge(hf_pretrained)
        for name, value in _PROVIDER.items():
            setattr(provider, name, value)
        return provider

    def mapping_registry(self) -> MegatronMappingRegistry:
        """See `MegatronModelBridge.mapping_registry`."""
        mappings: list[Any] = [AutoMapping(megatron_param=megatron, hf_param=hf) for megatron, hf in _EQUAL.items()]
        for kind in ("weight", "bias"):
            mappings.append(
                QKVMapping(
                    f"{_MEGATRON}.self_attention.linear_qkv.{kind}",
                    **{name: f"{_HF}.self_attn.{name}_proj.{kind}" for name in "qkv"},
                )
            )
        mappings.append(
            GatedMLPMapping(
                f"{_MEGATRON}.mlp.linear_fc1.weight",
                gate=f"{_HF}.mlp.gate_proj.weight",
                up=f"{_HF}.mlp.up_proj.weight",
            )
        )
        return MegatronMappingRegistry(*mappings)
