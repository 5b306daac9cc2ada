# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Converts Mixtral models: Mistral layers with a mixture of experts in each."""

from typing import Any

import torch
from megatron.core.models.gpt.gpt_model import GPTModel

from megatron.bridge.models.conversion.mapping_registry import MegatronMappingRegistry
from megatron.bridge.models.conversion.model_bridge import MegatronModelBridge
from megatron.bridge.models.conversion.param_mapping import AutoMapping, GatedMLPMapping, QKVMapping
from megatron.bridge.models.conversion.utils import mcore_to_hf_window_size
from megatron.bridge.models.gpt_provider import GPTModelProvider


_MEGATRON, _HF = "decoder.layers.*", "model.layers.*"
_EXPERTS = f"{_HF}.block_sparse_moe.experts.*"
# What every Mixtral model has.
_PROVIDER = {
    "add_bias_linear": False,
    "autocast_dtype": torch.bfloat16,
    "gated_linear_unit": True,
    "hidden_dropout": 0.0,
    "moe_grouped_gemm": True,
    "moe_permute_fusion": True,
    "moe_router_load_balancing_type": "aux_loss",
    # transformers normalizes the probabilities of the chosen experts, which equals a softmax over them alone.
    "moe_router_pre_softmax": False,
    "moe_token_dispatcher_type": "alltoall",
    "normalization": "RMSNorm",
}
# Parameters that are equal to one tensor of Hugging Face.
_EQUAL = {
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
    "output_layer.weight": "lm_head.weight",
    f"{_MEGATRON}.self_attention.linear_qkv.layer_norm_weight": f"{_HF}.input_layernorm.weight",
    f"{_MEGATRON}.self_attention.linear_proj.weight": f"{_HF}.self_attn.o_proj.weight",
    f"{_MEGATRON}.pre_mlp_layernorm.weight": f"{_HF}.post_attention_layernorm.weight",
    f"{_MEGATRON}.mlp.router.weight": f"{_HF}.block_sparse_moe.gate.weight",
}
# Names of the two layers of an expert: of Transformer Engine's grouped experts, and of Megatron Core's own.
_EXPERT_LAYERS = (
    ("experts.linear_fc1.weight*", "experts.linear_fc2.weight*"),
    ("experts.local_experts.*.linear_fc1.weight", "experts.local_experts.*.linear_fc2.weight"),
)


@MegatronModelBridge.register_bridge(source="MixtralForCausalLM", target=GPTModel, model_type="mixtral")
# The decorator is annotated for an instance.
class MixtralBridge(MegatronModelBridge[Any, GPTModelProvider, GPTModel]):  # type: ignore[type-var,unused-ignore]
    """Bridge of `MixtralForCausalLM`."""

    def provider_bridge(self, hf_pretrained: Any) -> Any:
        """See `MegatronModelBridge.provider_bridge`."""
        provider = super().provider_bridge(hf_pretrained)
        config = hf_pretrained.config
        for name, value in _PROVIDER.items():
            setattr(provider, name, value)
        provider.moe_ffn_hidden_size = config.intermediate_size
        if config.sliding_window is not None:
            # Megatron Core counts the tokens before the current one.
            provider.window_size = (config.sliding_window - 1, 0)
        return provider

    @classmethod
    def megatron_to_hf_config(cls, provider: Any) -> dict[str, Any]:
        """See `MegatronModelBridge.megatron_to_hf_config`."""
        config: dict[str, Any] = super().megatron_to_hf_config(provider)
        config["intermediate_size"] = provider.moe_ffn_hidden_size
        config["num_local_experts"] = provider.num_moe_experts
        config["sliding_window"] = mcore_to_hf_window_size(provider.window_size)
        return config

    def mapping_registry(self) -> MegatronMappingRegistry:
        """See `MegatronModelBridge.mapping_registry`."""
        mappings: list[Any] = [AutoMapping(megatron_param=megatron, hf_param=hf) for megatron, hf in _EQUAL.items()]
        mappings.append(
            QKVMapping(
                f"{_MEGATRON}.self_attention.linear_qkv.weight",
                **{name: f"{_HF}.self_attn.{name}_proj.weight" for name in "qkv"},
            )
        )
        for first, second in _EXPERT_LAYERS:
            mappings += [
                GatedMLPMapping(f"{_MEGATRON}.mlp.{first}", gate=f"{_EXPERTS}.w1.weight", up=f"{_EXPERTS}.w3.weight"),
                AutoMapping(f"{_MEGATRON}.mlp.{second}", f"{_EXPERTS}.w2.weight"),
            ]
        return MegatronMappingRegistry(*mappings)
