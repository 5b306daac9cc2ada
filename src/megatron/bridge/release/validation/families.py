# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Which model families Megatron-LM computes, and why it does not compute the others.

Importing this module imports neither torch nor Megatron Core.
"""

from megatron.bridge.release.validation.config_rules import FAMILIES


_HEADS = "the norms of its queries and keys span all heads; in Megatron-LM, they span one head"
_GEMMA = "Megatron-LM has no options for its activation, embedding scale and norms"
_POST_NORM = "its norms follow the attention and the MLP; Megatron-LM has no option for this"
_HYBRID = "Megatron-LM trains hybrid models with pretrain_hybrid.py, for which no test compares logits"
_ENCODERS = "Megatron-LM's pretrain_gpt.py has no vision or audio encoders"

_REASONS = {
    "deepseek_v4": "Megatron-LM has no options for its attention",
    "ernie4_5_moe": "the model that Megatron-LM's options describe routes tokens differently",
    "exaone4": _POST_NORM,
    "falcon_h1": _HYBRID,
    "glm_moe_dsa": "Megatron-LM has no options for its sparse attention in all layers",
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "gemma4_text": _GEMMA,
    "minimax_m2": _HEADS,
    "nemotron_h": _HYBRID,
    "olmoe": _HEADS,
    **dict.fromkeys(
        (
            *("ernie4_5_vl_moe", "exaone4_5", "gemma3", "gemma4", "glm4v_moe", "minimax_m3_vl", "mistral3"),
            *("qwen2_5_omni", "qwen2_5_vl", "qwen2_audio", "qwen3_5", "qwen3_5_moe", "qwen3_omni_moe"),
            *("qwen3_vl", "qwen3_vl_moe"),
        ),
        _ENCODERS,
    ),
}


def unsupported_family(model_type: str) -> str:
    """Return why Megatron-LM does not compute the models of a type; an empty string if it does."""
    if model_type in FAMILIES:
        return ""
    return _REASONS.get(model_type, "no test compares the logits of Megatron-LM and transformers for it")
