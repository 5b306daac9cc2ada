# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Converts Phi-3 and Phi-4 models: Llama layers with one tensor for query, key and value, and one for gate and up."""

from typing import Any

import torch
from megatron.core.models.gpt.gpt_model import GPTModel

from megatron.bridge.models.conversion.mapping_registry import MegatronMappingRegistry
from megatron.bridge.models.conversion.model_bridge import MegatronModelBridge
from megatron.bridge.models.conversion.param_mapping import (
    AutoMapping,
    ConcatenatedQKVMapping,
    GatedMLPMapping,
    MegatronParamMapping,
)
from megatron.bridge.models.conversion.utils import mcore_to_hf_window_size
from megatron.bridge.models.gpt_provider import GPTModelProvider


_MEGATRON, _HF = "decoder.layers.*", "model.layers.*"
# Values that do not depend on the config.
_PROVIDER = {
    "add_bias_linear": False,
    "add_qkv_bias": False,
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


class _GateUpMapping(MegatronParamMapping[torch.Tensor]):
    """Splits a tensor with the gate above the up projection, so that each rank has its part of both."""

    def __init__(self, megatron_param: str, hf_param: str) -> None:
        super().__init__(megatron_param, hf_param)
        self._halves = GatedMLPMapping(megatron_param, f"{hf_param}.gate", f"{hf_param}.up")

    def hf_to_megatron(self, hf_weights: torch.Tensor, megatron_module: torch.nn.Module) -> torch.Tensor:
        gate, up = hf_weights.chunk(2)
        return self._halves.hf_to_megatron({"gate": gate, "up": up}, megatron_module)

    def megatron_to_hf(
        self, megatron_weights: torch.Tensor | None, megatron_module: torch.nn.Module | None
    ) -> dict[str, torch.Tensor]:
        halves = self._halves.megatron_to_hf(megatron_weights, megatron_module)
        return {str(self.hf_param): torch.cat([*halves.values()])} if halves else {}


@MegatronModelBridge.register_bridge(source="Phi3ForCausalLM", target=GPTModel, model_type="phi3")
# The decorator is annotated for an instance.
class Phi3Bridge(MegatronModelBridge[Any, GPTModelProvider, GPTModel]):  # type: ignore[type-var,unused-ignore]
    """Bridge of `Phi3ForCausalLM`."""

    CONFIG_MAPPING = MegatronModelBridge.CONFIG_MAPPING + [
        ("resid_pdrop", "hidden_dropout"),
        ("embd_pdrop", "hidden_dropout"),
    ]

    def provider_bridge(self, hf_pretrained: Any) -> Any:
        """See `MegatronModelBridge.provider_bridge`."""
        config = hf_pretrained.config
        # In transformers 5, these are config.rope_parameters.
        rope = config.rope_scaling or {}
        rope_type = rope.get("rope_type") or rope.get("type") or "default"
        if rope_type != "default":
            raise ValueError(f"rope_type={rope_type!r} is not supported for Phi3ForCausalLM (expected 'default')")
        provider = super().provider_bridge(hf_pretrained)
        for name, value in _PROVIDER.items():
            setattr(provider, name, value)
        provider.rotary_percent = rope.get("partial_rotary_factor", provider.rotary_percent)
        if config.sliding_window is not None:
            # Megatron Core counts the tokens before the current one.
            provider.window_size = (config.sliding_window - 1, 0)
        return provider

    @classmethod
    def megatron_to_hf_config(cls, provider: Any) -> dict[str, Any]:
        """See `MegatronModelBridge.megatron_to_hf_config`."""
        config: dict[str, Any] = super().megatron_to_hf_config(provider)
        config["sliding_window"] = mcore_to_hf_window_size(provider.window_size)
        if config["head_dim"] is None:
            # transformers computes it only if the config has no such field.
            del config["head_dim"]
        return config

    def mapping_registry(self) -> MegatronMappingRegistry:
        """See `MegatronModelBridge.mapping_registry`."""
        return MegatronMappingRegistry(
            *(AutoMapping(megatron_param=megatron, hf_param=hf) for megatron, hf in _EQUAL.items()),
            ConcatenatedQKVMapping(
                f"{_MEGATRON}.self_attention.linear_qkv.weight", f"{_HF}.self_attn.qkv_proj.weight"
            ),
            _GateUpMapping(f"{_MEGATRON}.mlp.linear_fc1.weight", f"{_HF}.mlp.gate_up_proj.weight"),
        )
