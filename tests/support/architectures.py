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

"""The config.json of real models, made tiny: only sizes, windows, and the numbers of layers and experts are reduced."""

from typing import Any


def _without(config: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in keys}


_SIZES: dict[str, Any] = {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4}
_USUAL: dict[str, Any] = _SIZES | {
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "torch_dtype": "bfloat16",
    "use_cache": True,
}
_NO_BIAS: dict[str, Any] = {"attention_bias": False, "attention_dropout": 0.0}
_UNTIED: dict[str, Any] = {"tie_word_embeddings": False}
_PLAIN: dict[str, Any] = _USUAL | _NO_BIAS | _UNTIED
_WINDOW = 24
_LLAMA_3_ROPE: dict[str, Any] = {"high_freq_factor": 4.0, "low_freq_factor": 1.0} | {
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}
_MROPE: dict[str, Any] = {"mrope_section": [2, 3, 3], "rope_type": "default"}
_INTERLEAVED_MROPE: dict[str, Any] = {"mrope_interleaved": True, "mrope_section": [6, 5, 5], "rope_type": "default"}
_YARN: dict[str, Any] = {"beta_fast": 32, "beta_slow": 1, "type": "yarn"}
_MLA: dict[str, Any] = {"kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}
_DEEPSEEK: dict[str, Any] = (
    _PLAIN
    | _MLA
    | {"bos_token_id": 0, "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 1, "moe_intermediate_size": 32}
    | {"max_position_embeddings": 163840, "moe_layer_freq": 1, "n_routed_experts": 8, "num_experts_per_tok": 3}
    | {"num_hidden_layers": 3, "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 10000}
)
_MSCALE: dict[str, Any] = {"mscale": 1.0, "mscale_all_dim": 1.0}
_DEEPSEEK_YARN: dict[str, Any] = _YARN | _MSCALE | {"factor": 40, "original_max_position_embeddings": 4096}
_DEEPSEEK_V2: dict[str, Any] = (
    _DEEPSEEK
    | {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "aux_loss_alpha": 0.001}
    | {"n_shared_experts": 2, "norm_topk_prob": False, "pretraining_tp": 1, "scoring_func": "softmax"}
    | {"rope_scaling": _DEEPSEEK_YARN | {"mscale": 0.707, "mscale_all_dim": 0.707}, "seq_aux": True}
)
_DEEPSEEK_V3: dict[str, Any] = (
    _DEEPSEEK
    | {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "n_group": 4, "n_shared_experts": 1}
    | {"norm_topk_prob": True, "num_nextn_predict_layers": 1, "q_lora_rank": 24, "rope_scaling": _DEEPSEEK_YARN}
    | {"routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "topk_group": 2, "topk_method": "noaux_tc"}
    # Twice topk_group, as in the real model.
    | {"num_experts_per_tok": 4}
)
_GLM_4_5: dict[str, Any] = (
    _USUAL
    | _UNTIED
    | {"architectures": ["Glm4MoeForCausalLM"], "model_type": "glm4_moe", "attention_bias": True, "head_dim": 32}
    | {"attention_dropout": 0.0, "eos_token_id": [501, 502, 503], "first_k_dense_replace": 1, "n_group": 1}
    | {"max_position_embeddings": 131072, "moe_intermediate_size": 32, "n_routed_experts": 8, "n_shared_experts": 1}
    | {"norm_topk_prob": True, "num_experts_per_tok": 3, "num_hidden_layers": 3, "num_key_value_heads": 2}
    | {"num_nextn_predict_layers": 1, "pad_token_id": 501, "partial_rotary_factor": 0.5, "rms_norm_eps": 1e-05}
    | {"rope_scaling": None, "rope_theta": 1000000, "routed_scaling_factor": 2.5, "topk_group": 1}
    | {"use_qk_norm": True}
)
_QWEN3: dict[str, Any] = (
    _PLAIN
    | {"bos_token_id": 500, "eos_token_id": 501, "head_dim": 32, "max_position_embeddings": 40960}
    | {"max_window_layers": 2, "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-06}
    | {"rope_scaling": None, "rope_theta": 1000000, "sliding_window": None, "use_sliding_window": False}
)
_QWEN_EXPERTS: dict[str, Any] = (
    {"decoder_sparse_step": 1, "mlp_only_layers": [], "moe_intermediate_size": 32}
    | {"norm_topk_prob": True, "num_experts": 8, "num_experts_per_tok": 3}
    | {"output_router_logits": False, "router_aux_loss_coef": 0.001}
)
_GATED_DELTA: dict[str, Any] = (
    {"full_attention_interval": 4, "head_dim": 32, "linear_conv_kernel_dim": 4}
    | {"linear_key_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4}
    | {"linear_value_head_dim": 16, "num_hidden_layers": 4}
)
_EXAONE_4: dict[str, Any] = (
    _USUAL
    | {"architectures": ["Exaone4ForCausalLM"], "model_type": "exaone4", "attention_dropout": 0.0, "bos_token_id": 1}
    | {"eos_token_id": 361, "head_dim": 32, "max_position_embeddings": 131072, "num_key_value_heads": 2}
    | {"pad_token_id": 0, "rms_norm_eps": 1e-05, "rope_scaling": _LLAMA_3_ROPE | {"factor": 16.0}}
    | {"rope_theta": 1000000}
)
_THREE_LOCAL = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]
_NEMOTRON_H: dict[str, Any] = (
    _NO_BIAS
    | _UNTIED
    | _without(_USUAL, "hidden_act")
    | {"architectures": ["NemotronHForCausalLM"], "model_type": "nemotron_h", "bos_token_id": 1, "chunk_size": 128}
    | {"conv_kernel": 4, "eos_token_id": 2, "expand": 2, "hidden_dropout": 0.0, "layer_norm_epsilon": 1e-05}
    | {"mamba_head_dim": 16, "mamba_hidden_act": "silu", "mamba_num_heads": 8, "mamba_proj_bias": False}
    | {"mlp_bias": False, "mlp_hidden_act": "relu2", "n_groups": 2, "num_hidden_layers": 4, "num_key_value_heads": 2}
    | {"num_logits_to_keep": 1, "pad_token_id": 0, "rescale_prenorm_residual": True, "residual_in_fp32": False}
    | {"sliding_window": None, "ssm_state_size": 16, "time_step_floor": 0.0001, "time_step_max": 0.1}
    | {"time_step_min": 0.001, "use_bias": False, "use_conv_bias": True, "use_mamba_kernels": True}
)
_GEMMA: dict[str, Any] = (
    _NO_BIAS
    | _USUAL
    | {"bos_token_id": 2, "eos_token_id": 1, "head_dim": 32, "hidden_act": "gelu_pytorch_tanh", "pad_token_id": 0}
    | {"max_position_embeddings": 8192, "num_hidden_layers": 2, "rms_norm_eps": 1e-06, "rope_theta": 10000.0}
)
_GEMMA_3: dict[str, Any] = (
    _without(_GEMMA, "hidden_act")
    | {"attn_logit_softcapping": None, "cache_implementation": "hybrid", "eos_token_id": [1, 106]}
    | {"final_logit_softcapping": None, "hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 32768}
    | {"model_type": "gemma3_text", "num_hidden_layers": 6, "num_key_value_heads": 1, "query_pre_attn_scalar": 256}
    | {"rope_local_base_freq": 10000, "rope_scaling": None, "rope_theta": 1000000, "sliding_window": _WINDOW}
    | {"sliding_window_pattern": 6}
)
_GEMMA_4: dict[str, Any] = (
    _without(_GEMMA, "hidden_act", "rope_theta", "torch_dtype")
    | {"attention_k_eq_v": True, "dtype": "bfloat16", "enable_moe_block": False, "final_logit_softcapping": 30.0}
    | {"global_head_dim": 32, "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh", "model_type": "gemma4_text"}
    | {"hidden_size_per_layer_input": 0, "layer_types": ["sliding_attention"] * 5 + ["full_attention"]}
    | {"max_position_embeddings": 262144, "num_experts": None, "num_global_key_value_heads": 1}
    | {"num_hidden_layers": 6, "num_key_value_heads": 2, "num_kv_shared_layers": 0, "sliding_window": _WINDOW}
    | {
        "rope_parameters": {
            "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"}
        }
        | {"sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}}
    }
    | {"tie_word_embeddings": True, "top_k_experts": None, "use_bidirectional_attention": "vision"}
    | {"use_double_wide_mlp": False, "vocab_size_per_layer_input": 512}
)
_GEMMA_4_EXPERTS: dict[str, Any] = {
    "enable_moe_block": True,
    "moe_intermediate_size": 32,
    "num_experts": 8,
    "top_k_experts": 3,
}
_LLAMA_4_TEXT: dict[str, Any] = (
    _PLAIN
    | {"architectures": ["Llama4ForCausalLM"], "model_type": "llama4_text", "attention_chunk_size": _WINDOW}
    | {"attn_scale": 0.1, "attn_temperature_tuning": True, "bos_token_id": 500, "eos_token_id": [501, 502, 503]}
    | {"floor_scale": 8192, "for_llm_compressor": False, "head_dim": 32, "intermediate_size": 32}
    | {"intermediate_size_mlp": 96, "no_rope_layers": [], "num_experts_per_tok": 1, "num_hidden_layers": 4}
    | {"num_key_value_heads": 2, "num_local_experts": 4, "output_router_logits": False, "pad_token_id": 504}
    | {"rms_norm_eps": 1e-05, "rope_theta": 500000.0, "router_aux_loss_coef": 0.001, "router_jitter_noise": 0.0}
)
_MISTRAL: dict[str, Any] = (
    _USUAL
    | _UNTIED
    | {"attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 32768}
    | {"num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0}
    | {"sliding_window": None}
)
_PHI: dict[str, Any] = (
    _USUAL
    | _NO_BIAS
    | {"architectures": ["Phi3ForCausalLM"], "model_type": "phi3", "embd_pdrop": 0.0, "num_hidden_layers": 2}
    | {"num_key_value_heads": 2, "resid_pdrop": 0.0, "rms_norm_eps": 1e-05}
)
_QWEN3_5_BASE: dict[str, Any] = (
    _without(_USUAL, "intermediate_size", "torch_dtype")
    | _NO_BIAS
    | _GATED_DELTA
    | {"attn_output_gate": True, "dtype": "bfloat16", "eos_token_id": 500, "mamba_ssm_dtype": "float32"}
    | {"layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"]}
    | {"max_position_embeddings": 262144, "mlp_only_layers": [], "mtp_num_hidden_layers": 1, "rms_norm_eps": 1e-06}
    | {"mtp_use_dedicated_embeddings": False, "num_key_value_heads": 2}
    | {
        "rope_parameters": {"mrope_interleaved": True, "mrope_section": [2, 1, 1]}
        | {"partial_rotary_factor": 0.25, "rope_theta": 10000000}
        | {"rope_type": "default"}
    }
)
_QWEN3_5_TEXT = _QWEN3_5_BASE | {"intermediate_size": 96, "model_type": "qwen3_5_text"}
_QWEN3_5_MOE_TEXT = (
    _QWEN3_5_BASE
    | {"model_type": "qwen3_5_moe_text", "moe_intermediate_size": 32}
    | {"num_experts": 8, "num_experts_per_tok": 3}
    | {"router_aux_loss_coef": 0.001, "shared_expert_intermediate_size": 32}
)
_QWEN3_VL_TOKENS: dict[str, Any] = {
    "image_token_id": 505,
    "video_token_id": 506,
    "vision_end_token_id": 503,
    "vision_start_token_id": 502,
}
_QWEN3_VL_TEXT: dict[str, Any] = (
    _without(_USUAL, "torch_dtype")
    | _NO_BIAS
    | {"bos_token_id": 500, "dtype": "bfloat16", "eos_token_id": 501, "head_dim": 32, "num_hidden_layers": 3}
    | {"max_position_embeddings": 262144, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 5000000}
    | {"rope_scaling": _INTERLEAVED_MROPE}
)
_QWEN3_VISION: dict[str, Any] = (
    {"deepstack_visual_indexes": [0, 1, 2], "depth": 4, "hidden_act": "gelu_pytorch_tanh", "hidden_size": 32}
    | {"in_channels": 3, "initializer_range": 0.02, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 64}
    | {"num_position_embeddings": 16, "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2}
)
_OMNI_TOKENS: dict[str, Any] = {"audio_start_token_id": 497, "position_id_per_seconds": 25, "user_token_id": 410}
_OMNI_AUDIO: dict[str, Any] = (
    {"activation_dropout": 0.0, "activation_function": "gelu", "attention_dropout": 0.0, "d_model": 32}
    | {"dropout": 0.0, "encoder_attention_heads": 2, "encoder_ffn_dim": 48, "encoder_layers": 2, "n_window": 100}
    | {"max_source_positions": 1500, "num_mel_bins": 128, "output_dim": 64, "scale_embedding": False}
)
_GEMMA_4_WHOLE: dict[str, Any] = (
    {"architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4", "audio_config": None}
    | {"audio_token_id": 505, "boa_token_id": 501, "boi_token_id": 500, "dtype": "bfloat16", "eoa_token_id": 507}
    | {"eoa_token_index": 507, "eoi_token_id": 506, "image_token_id": 504, "initializer_range": 0.02}
    | {"tie_word_embeddings": True, "video_token_id": 508, "vision_soft_tokens_per_image": 4}
    | {
        "vision_config": _NO_BIAS
        | {"default_output_length": 4, "dtype": "bfloat16", "global_head_dim": 16, "head_dim": 16, "hidden_size": 32}
        | {"hidden_activation": "gelu_pytorch_tanh", "initializer_range": 0.02, "intermediate_size": 48}
        | {"max_position_embeddings": 131072, "model_type": "gemma4_vision", "num_attention_heads": 2}
        | {"num_hidden_layers": 2, "num_key_value_heads": 2, "patch_size": 16, "pooling_kernel_size": 3}
        | {"position_embedding_size": 64, "rms_norm_eps": 1e-06, "standardize": True, "use_clipped_linears": False}
        | {"rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}}
    }
)
_MISTRAL_3: dict[str, Any] = (
    {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3"}
    | {"multimodal_projector_bias": False, "projector_hidden_act": "gelu"}
    | {"spatial_merge_size": 2, "vision_feature_layer": -1}
)
_PIXTRAL: dict[str, Any] = (
    {"attention_dropout": 0.0, "head_dim": 16, "hidden_act": "silu", "hidden_size": 32, "image_size": 56}
    | {"initializer_range": 0.02, "intermediate_size": 48, "model_type": "pixtral", "num_attention_heads": 2}
    | {"num_channels": 3, "num_hidden_layers": 2, "patch_size": 14}
)
_GPT_OSS_YARN: dict[str, Any] = (
    {"beta_fast": 32.0, "beta_slow": 1.0}
    | {"factor": 32.0, "original_max_position_embeddings": 4096}
    | {"rope_type": "yarn", "truncate": False}
)
_MINISTRAL_YARN: dict[str, Any] = (
    _YARN
    | _MSCALE
    | {"factor": 16.0, "llama_4_scaling_beta": 0.1, "original_max_position_embeddings": 16384, "rope_type": "yarn"}
    | {"rope_theta": 1000000.0}
)
_PHI_LONGROPE: dict[str, Any] = (
    {"long_factor": [1, 1.118320672, 1.250641126, 1.398617824, 1.564103225, 1.74916897]}
    | {"short_factor": [1.0] * 6}
    | {"type": "longrope"}
)
_SPARSE_ATTENTION: dict[str, Any] = (
    {"sparse_attention_freq": [0, 1, 1], "sparse_block_size": 8, "sparse_disable_index_value": [0, 1, 1]}
    | {"sparse_index_dim": 16, "sparse_init_block": 0, "sparse_local_block": 1, "sparse_num_index_heads": 2}
    | {"sparse_score_type": "max", "sparse_topk_blocks": 2, "use_sparse_attention": True}
)
_MERGE: dict[str, Any] = {"spatial_merge_size": 2, "temporal_patch_size": 2}
_COMPRESSION: dict[str, Any] = _MERGE | {"image_token_compression_method": "patch_merge"}
_QWEN2_VISION: dict[str, Any] = (
    _MERGE
    | {"depth": 2, "fullatt_block_indexes": [1], "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 48}
    | {"num_heads": 2, "out_hidden_size": 64, "patch_size": 14, "window_size": 112}
)
_QWEN2_AUDIO: dict[str, Any] = (
    {"activation_dropout": 0.0, "activation_function": "gelu", "attention_dropout": 0.0, "d_model": 32}
    | {"dropout": 0.0, "encoder_attention_heads": 2, "encoder_ffn_dim": 48, "encoder_layerdrop": 0.0}
    | {"encoder_layers": 2, "init_std": 0.02, "max_source_positions": 1500, "model_type": "qwen2_audio_encoder"}
    | {"num_mel_bins": 128, "scale_embedding": False}
)
_ERNIE_VISION: dict[str, Any] = (
    {"model_type": "ernie4_5_vl_moe_vision", "depth": 2, "hidden_act": "quick_gelu", "hidden_size": 32}
    | {"in_channels": 3, "initializer_range": 0.02, "intermediate_size": 48, "num_heads": 2, "patch_size": 14}
    | {"rms_norm_eps": 1e-06, "spatial_merge_size": 2, "temporal_merge_size": 2}
)

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "DeepSeek-V2": _DEEPSEEK_V2
    | {"n_group": 4, "q_lora_rank": 24}
    | {"routed_scaling_factor": 16.0, "topk_group": 2}
    | {"topk_method": "group_limited_greedy"},
    "DeepSeek-V2-Lite": _DEEPSEEK_V2
    | {"n_group": 1, "q_lora_rank": None, "routed_scaling_factor": 1.0, "topk_group": 1, "topk_method": "greedy"},
    "DeepSeek-V3": _DEEPSEEK_V3,
    "Kimi-K2": _DEEPSEEK_V3
    | {"aux_loss_alpha": 0.001, "max_position_embeddings": 131072, "n_group": 1, "num_nextn_predict_layers": 0}
    | {"pretraining_tp": 1, "rope_scaling": _DEEPSEEK_YARN | {"beta_fast": 1.0, "beta_slow": 1.0, "factor": 32.0}}
    | {"rope_theta": 50000.0, "routed_scaling_factor": 2.827, "seq_aux": True, "topk_group": 1},
    "GPT-OSS": _USUAL
    | _UNTIED
    | {"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "attention_bias": True, "eos_token_id": 502}
    | {"attention_dropout": 0.0, "experts_per_token": 3, "head_dim": 32, "initial_context_length": 4096}
    | {"layer_types": ["sliding_attention", "full_attention"], "max_position_embeddings": 131072}
    | {"num_experts_per_tok": 3, "num_hidden_layers": 2, "num_key_value_heads": 2, "num_local_experts": 8}
    | {"output_router_logits": False, "pad_token_id": 499, "rms_norm_eps": 1e-05, "rope_scaling": _GPT_OSS_YARN}
    | {"rope_theta": 150000, "router_aux_loss_coef": 0.9, "sliding_window": _WINDOW, "swiglu_limit": 7.0},
    "GLM-4.5": _GLM_4_5,
    "GLM-4.5-Air": _GLM_4_5 | {"routed_scaling_factor": 1.0, "use_qk_norm": False},
    "GLM-4.7-Flash": _without(_GLM_4_5, "head_dim", "use_qk_norm")
    | _MLA
    | {"architectures": ["Glm4MoeLiteForCausalLM"], "model_type": "glm4_moe_lite", "attention_bias": False}
    | {"max_position_embeddings": 202752, "num_key_value_heads": 4, "partial_rotary_factor": 1.0, "q_lora_rank": 24}
    | {"routed_scaling_factor": 1.8, "topk_method": "noaux_tc"},
    "Qwen3": _QWEN3 | {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"},
    "Qwen3-30B-A3B": _QWEN3 | _QWEN_EXPERTS | {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe"},
    "Qwen3-Next": _USUAL
    | _UNTIED
    | _QWEN_EXPERTS
    | _GATED_DELTA
    | {"architectures": ["Qwen3NextForCausalLM"], "model_type": "qwen3_next", "attention_bias": False}
    | {"attention_dropout": 0.0, "bos_token_id": 500, "eos_token_id": 501, "max_position_embeddings": 262144}
    | {"num_key_value_heads": 2, "partial_rotary_factor": 0.25, "rms_norm_eps": 1e-06, "rope_scaling": None}
    | {"rope_theta": 10000000, "shared_expert_intermediate_size": 32, "use_sliding_window": False},
    "Nemotron-3-Nano": _NEMOTRON_H
    | {"head_dim": 32, "hybrid_override_pattern": "MEM*", "mamba_ssm_cache_dtype": "float32", "n_group": 1}
    | {"max_position_embeddings": 262144, "moe_intermediate_size": 96, "moe_shared_expert_intermediate_size": 128}
    | {"n_routed_experts": 8, "n_shared_experts": 1, "norm_eps": 1e-05, "norm_topk_prob": True, "rope_theta": 10000}
    | {"num_experts_per_tok": 3, "partial_rotary_factor": 1.0, "routed_scaling_factor": 2.5, "topk_group": 1},
    "Nemotron-H": _NEMOTRON_H
    | {"attention_head_dim": 16, "hybrid_override_pattern": "M-*-"}
    | {"max_position_embeddings": 8192, "rms_norm_eps": 1e-05}
    | {"time_step_rank": 4},
    "Minitron": _PLAIN
    | {"architectures": ["NemotronForCausalLM"], "model_type": "nemotron", "bos_token_id": 2, "eos_token_id": 3}
    | {"head_dim": 32, "hidden_act": "relu2", "initializer_range": 0.0134, "max_position_embeddings": 4096}
    | {"mlp_bias": False, "norm_eps": 1e-05, "num_hidden_layers": 2, "num_key_value_heads": 2, "rope_theta": 10000}
    | {"partial_rotary_factor": 0.5},
    "Hy3": _PLAIN
    | {"architectures": ["HYV3ForCausalLM"], "model_type": "hy_v3", "bos_token_id": 500, "enable_lm_head_fp32": True}
    | {"enable_attention_fp32_softmax": False, "enable_moe_fp32_combine": False, "eod_token_id": 503, "head_dim": 32}
    | {"eos_token_id": 501, "expert_hidden_dim": 32, "first_k_dense_replace": 1, "initializer_range": 0.006}
    | {"max_position_embeddings": 262144, "moe_intermediate_size": 32, "moe_router_enable_expert_bias": True}
    | {"moe_router_use_sigmoid": True, "num_experts": 8, "num_experts_per_tok": 3, "num_hidden_layers": 3}
    | {"num_key_value_heads": 2, "num_nextn_predict_layers": 1, "num_shared_experts": 1, "pad_token_id": 502}
    | {"output_router_logits": True, "qk_norm": True, "rms_norm_eps": 1e-05, "route_norm": True, "sep_token_id": 504}
    | {"rope_parameters": {"rope_theta": 11158840.0, "rope_type": "default"}, "router_scaling_factor": 2.826}
    | {"use_grouped_mm": False},
    "EXAONE-4.0-32B": _EXAONE_4
    | _UNTIED
    | {"layer_types": _THREE_LOCAL, "num_hidden_layers": 4}
    | {"sliding_window": _WINDOW, "sliding_window_pattern": "LLLG"},
    "EXAONE-4.0-1.2B": _EXAONE_4
    | {"layer_types": ["full_attention"] * 2, "num_hidden_layers": 2}
    | {"sliding_window": None, "sliding_window_pattern": None}
    | {"tie_word_embeddings": True},
    "K-EXAONE": _USUAL
    | _UNTIED
    | {"architectures": ["ExaoneMoeForCausalLM"], "model_type": "exaone_moe", "attention_dropout": 0.0, "n_group": 1}
    | {"bos_token_id": 1, "eos_token_id": 53, "first_k_dense_replace": 1, "head_dim": 32, "norm_topk_prob": True}
    | {"layer_types": _THREE_LOCAL, "max_position_embeddings": 262144, "moe_intermediate_size": 32, "num_experts": 8}
    | {"mlp_layer_types": ["dense", "sparse", "sparse", "sparse"], "num_experts_per_tok": 3, "num_hidden_layers": 4}
    | {"num_key_value_heads": 2, "num_nextn_predict_layers": 1, "num_shared_experts": 1, "pad_token_id": 0}
    | {"rms_norm_eps": 1e-05, "rope_parameters": {"rope_theta": 1000000, "rope_type": "default"}, "topk_group": 1}
    | {"routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "sliding_window": _WINDOW, "topk_method": "noaux_tc"}
    | {"sliding_window_pattern": "LLLG"},
    "ERNIE-4.5-21B-A3B": _USUAL
    | {"architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe", "bos_token_id": 1, "moe_k": 3}
    | {"eos_token_id": 2, "max_position_embeddings": 131072, "moe_capacity": [8, 8, 8], "moe_gate": "topk"}
    | {"moe_intermediate_size": 32, "moe_layer_interval": 1, "moe_layer_start_index": 1, "moe_num_experts": 8}
    | {"moe_num_shared_experts": 2, "moe_use_aux_free": True, "num_hidden_layers": 3, "num_key_value_heads": 2}
    | {"pad_token_id": 0, "rms_norm_eps": 1e-05, "rope_theta": 500000, "tie_word_embeddings": True}
    | {"use_bias": False},
    "MiniMax-M2": _USUAL
    | _UNTIED
    | {"architectures": ["MiniMaxM2ForCausalLM"], "model_type": "minimax_m2", "attention_dropout": 0.0}
    | {"attn_type_list": [1, 1], "bos_token_id": None, "eos_token_id": None, "head_dim": 32, "num_hidden_layers": 2}
    | {"max_position_embeddings": 196608, "mtp_transformer_layers": 1, "num_experts_per_tok": 3, "rotary_dim": 16}
    | {"num_key_value_heads": 2, "num_local_experts": 8, "num_mtp_modules": 3, "output_router_logits": False}
    | {"qk_norm_type": "per_layer", "rms_norm_eps": 1e-06, "rope_theta": 5000000, "router_aux_loss_coef": 0.001}
    | {"router_jitter_noise": 0.0, "scoring_func": "sigmoid", "shared_intermediate_size": 0, "use_mtp": True}
    | {"use_qk_norm": True, "use_routing_bias": True},
    "OLMoE": _PLAIN
    | {"architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "clip_qkv": None, "eos_token_id": 279}
    | {"max_position_embeddings": 4096, "norm_topk_prob": False, "num_experts": 8, "num_experts_per_tok": 3}
    | {"num_hidden_layers": 2, "num_key_value_heads": 4, "output_router_logits": False, "pad_token_id": 1}
    | {"rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0, "router_aux_loss_coef": 0.01},
    "Gemma": _GEMMA
    | {"architectures": ["GemmaForCausalLM"], "model_type": "gemma", "num_key_value_heads": 1, "rope_scaling": None},
    "Gemma-2": _GEMMA
    | {"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "attn_logit_softcapping": 50.0}
    | {"cache_implementation": "hybrid", "final_logit_softcapping": 30.0, "hidden_activation": "gelu_pytorch_tanh"}
    | {"num_key_value_heads": 2, "query_pre_attn_scalar": 256, "sliding_window": _WINDOW},
    "Gemma-3-1B": _GEMMA_3 | {"architectures": ["Gemma3ForCausalLM"]},
    "Gemma-4-31B-text": _GEMMA_4 | {"architectures": ["Gemma4ForCausalLM"], "expert_intermediate_size": None},
    "Gemma-4-26B-A4B-text": _GEMMA_4 | _GEMMA_4_EXPERTS | {"architectures": ["Gemma4ForCausalLM"]},
    "Llama-3.2-1B": _USUAL
    | _NO_BIAS
    | {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "bos_token_id": 500, "eos_token_id": 501}
    | {"head_dim": 16, "max_position_embeddings": 131072, "mlp_bias": False, "num_hidden_layers": 2}
    | {"num_key_value_heads": 2, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_theta": 500000.0}
    | {"rope_scaling": _LLAMA_3_ROPE | {"factor": 32.0}, "tie_word_embeddings": True},
    "Mistral-7B-v0.3": _MISTRAL | {"architectures": ["MistralForCausalLM"], "model_type": "mistral"},
    "Mixtral-8x7B": _MISTRAL
    | {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral"}
    | {"num_experts_per_tok": 2, "num_local_experts": 8}
    | {"output_router_logits": False, "router_aux_loss_coef": 0.02},
    "Qwen2.5-7B": _USUAL
    | _UNTIED
    | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "attention_dropout": 0.0, "bos_token_id": 500}
    | {"eos_token_id": 500, "max_position_embeddings": 131072, "max_window_layers": 2, "num_hidden_layers": 2}
    | {"num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 131072}
    | {"use_mrope": False, "use_sliding_window": False},
    "Qwen3.5-27B-text": _QWEN3_5_TEXT | {"architectures": ["Qwen3_5ForCausalLM"], "tie_word_embeddings": False},
    "Qwen3.5-35B-A3B-text": _QWEN3_5_MOE_TEXT
    | {"architectures": ["Qwen3_5MoeForCausalLM"], "tie_word_embeddings": False},
    "Phi-4-mini": _PHI
    | {"bos_token_id": 500, "eos_token_id": 500, "full_attn_mod": 1, "interpolate_factor": 1, "lm_head_bias": False}
    | {"max_position_embeddings": 131072, "mlp_bias": False, "original_max_position_embeddings": 4096}
    | {"pad_token_id": 500, "partial_rotary_factor": 0.75, "rope_scaling": _PHI_LONGROPE, "rope_theta": 10000.0}
    | {"sliding_window": 262144, "tie_word_embeddings": True},
    "Phi-4": _PHI
    | _UNTIED
    | {"bos_token_id": 500, "eos_token_id": 501, "max_position_embeddings": 16384}
    | {"original_max_position_embeddings": 16384, "pad_token_id": 502, "rope_scaling": None}
    | {"rope_theta": 250000, "sliding_window": None},
    "Granite-3.3-8B": _USUAL
    | _NO_BIAS
    | {"architectures": ["GraniteForCausalLM"], "model_type": "granite", "attention_multiplier": 0.0078125}
    | {"bos_token_id": 0, "embedding_multiplier": 12.0, "eos_token_id": 0, "logits_scaling": 16.0, "mlp_bias": False}
    | {"max_position_embeddings": 131072, "num_hidden_layers": 2, "num_key_value_heads": 2, "pad_token_id": 0}
    | {"residual_multiplier": 0.22, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000000.0}
    | {"tie_word_embeddings": True},
    "Seed-OSS-36B": _USUAL
    | _UNTIED
    | {"architectures": ["SeedOssForCausalLM"], "model_type": "seed_oss", "attention_bias": True, "bos_token_id": 0}
    | {"attention_dropout": 0.1, "attention_out_bias": False, "eos_token_id": 2, "head_dim": 32, "mlp_bias": False}
    | {"max_position_embeddings": 524288, "num_hidden_layers": 2, "num_key_value_heads": 2, "pad_token_id": 1}
    | {"residual_dropout": 0.1, "rms_norm_eps": 1e-06, "rope_scaling": {"rope_type": "default"}}
    | {"rope_theta": 10000000.0},
    "OLMo-2-7B": _PLAIN
    | {"architectures": ["Olmo2ForCausalLM"], "model_type": "olmo2", "eos_token_id": 257, "num_hidden_layers": 2}
    | {"max_position_embeddings": 4096, "num_key_value_heads": 4, "pad_token_id": 277, "rms_norm_eps": 1e-06}
    | {"rope_scaling": None, "rope_theta": 500000},
    "ERNIE-4.5-0.3B": _USUAL
    | {"architectures": ["Ernie4_5ForCausalLM"], "model_type": "ernie4_5", "bos_token_id": 1, "eos_token_id": 2}
    | {"head_dim": 32, "max_position_embeddings": 131072, "num_hidden_layers": 2, "num_key_value_heads": 2}
    | {"pad_token_id": 0, "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": True}
    | {"use_bias": False, "use_cache": False},
    "Llama-4-Scout-text": _LLAMA_4_TEXT
    | {"interleave_moe_layer_step": 1, "max_position_embeddings": 10485760}
    | {"rope_scaling": _LLAMA_3_ROPE | {"factor": 16.0, "high_freq_factor": 1.0}, "use_qk_norm": True},
    "Llama-4-Maverick-text": _LLAMA_4_TEXT
    | {"interleave_moe_layer_step": 2, "max_position_embeddings": 1048576, "rope_scaling": None, "use_qk_norm": False},
    "DeepSeek-V4-Flash": _PLAIN
    | {"architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "bos_token_id": 0, "eos_token_id": 1}
    | {"compress_ratios": [0, 4, 128, 4, 0], "compress_rope_theta": 160000, "hc_eps": 1e-06, "hc_mult": 4}
    | {"hc_sinkhorn_iters": 20, "head_dim": 32, "index_head_dim": 16, "index_n_heads": 4, "index_topk": 4}
    | {"max_position_embeddings": 1048576, "moe_intermediate_size": 32, "n_routed_experts": 8, "n_shared_experts": 1}
    | {"norm_topk_prob": True, "num_experts_per_tok": 3, "num_hash_layers": 1, "num_hidden_layers": 4, "o_groups": 2}
    | {"num_key_value_heads": 1, "num_nextn_predict_layers": 1, "o_lora_rank": 16, "q_lora_rank": 24}
    | {"qk_rope_head_dim": 8, "rms_norm_eps": 1e-06, "rope_theta": 10000, "routed_scaling_factor": 1.5}
    | {"rope_scaling": _YARN | {"factor": 16, "original_max_position_embeddings": 65536}, "sliding_window": _WINDOW}
    | {"scoring_func": "sqrtsoftplus", "swiglu_limit": 10.0, "topk_method": "noaux_tc"},
    "GLM-5": _without(_USUAL, "torch_dtype")
    | _NO_BIAS
    | _UNTIED
    | _MLA
    | {"architectures": ["GlmMoeDsaForCausalLM"], "model_type": "glm_moe_dsa", "dtype": "bfloat16", "ep_size": 1}
    | {"eos_token_id": [501, 502, 503], "first_k_dense_replace": 1, "head_dim": 8, "index_head_dim": 16}
    | {"index_n_heads": 4, "index_topk": _WINDOW, "indexer_rope_interleave": True, "max_position_embeddings": 202752}
    | {"moe_intermediate_size": 32, "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 8, "n_shared_experts": 1}
    | {"norm_topk_prob": True, "num_experts_per_tok": 3, "num_hidden_layers": 3, "num_key_value_heads": 4}
    | {"num_nextn_predict_layers": 1, "pad_token_id": 501, "pretraining_tp": 1, "q_lora_rank": 24, "qk_head_dim": 24}
    | {"rms_norm_eps": 1e-05, "rope_interleave": True, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid"}
    | {"rope_parameters": {"rope_theta": 1000000, "rope_type": "default"}, "topk_group": 1}
    | {"topk_method": "noaux_tc"},
    "Falcon-H1-0.5B": _PLAIN
    | {"architectures": ["FalconH1ForCausalLM"], "model_type": "falcon_h1", "attention_in_multiplier": 1.0}
    | {"attention_out_multiplier": 0.9375, "attn_layer_indices": None, "bos_token_id": 1, "eos_token_id": 11}
    | {"embedding_multiplier": 5.656854249492381, "head_dim": 32, "key_multiplier": 0.39062499999999994}
    | {"lm_head_multiplier": 0.0390625, "mamba_chunk_size": 128, "mamba_conv_bias": True, "mamba_d_conv": 4}
    | {"mamba_d_head": 16, "mamba_d_ssm": 96, "mamba_d_state": 16, "mamba_expand": 2, "mamba_n_groups": 1}
    | {"mamba_n_heads": 6, "mamba_norm_before_gate": False, "mamba_proj_bias": False, "mamba_rms_norm": False}
    | {"mamba_use_mlp": True, "max_position_embeddings": 16384, "mlp_bias": False, "mlp_expansion_factor": 8}
    | {"mlp_multipliers": [0.8838834764831844, 0.5859375], "num_hidden_layers": 2, "num_key_value_heads": 2}
    | {"num_logits_to_keep": 1, "pad_token_id": 0, "projectors_bias": False, "rms_norm_eps": 1e-05}
    | {"rope_scaling": None, "rope_theta": 100000000000.0, "ssm_in_multiplier": 1.25}
    | {"ssm_multipliers": [0.3535533905932738, 0.25, 0.3535533905932738, 0.5, 0.3535533905932738]}
    | {"ssm_out_multiplier": 0.23570226039551587},
    "Qwen3-VL": _QWEN3_VL_TOKENS
    | {"architectures": ["Qwen3VLForConditionalGeneration"], "model_type": "qwen3_vl", "tie_word_embeddings": True}
    | {"text_config": _QWEN3_VL_TEXT | {"model_type": "qwen3_vl_text", "tie_word_embeddings": True}}
    | {"vision_config": _QWEN3_VISION | {"model_type": "qwen3_vl"}},
    "Qwen3-VL-30B-A3B": _QWEN3_VL_TOKENS
    | {"architectures": ["Qwen3VLMoeForConditionalGeneration"], "model_type": "qwen3_vl_moe"}
    | {
        "text_config": _QWEN3_VL_TEXT
        | {"model_type": "qwen3_vl_moe_text", "decoder_sparse_step": 1, "mlp_only_layers": [], "num_experts": 8}
        | {"moe_intermediate_size": 32, "norm_topk_prob": True, "num_experts_per_tok": 3}
    }
    | {"tie_word_embeddings": False, "vision_config": _QWEN3_VISION | {"model_type": "qwen3_vl_moe"}},
    "Qwen3.5-27B": _QWEN3_VL_TOKENS
    | {"architectures": ["Qwen3_5ForConditionalGeneration"], "model_type": "qwen3_5", "text_config": _QWEN3_5_TEXT}
    | {"tie_word_embeddings": False}
    | {"vision_config": _QWEN3_VISION | {"deepstack_visual_indexes": [], "model_type": "qwen3_5"}},
    "Qwen3.5-35B-A3B": _QWEN3_VL_TOKENS
    | {"architectures": ["Qwen3_5MoeForConditionalGeneration"], "model_type": "qwen3_5_moe"}
    | {"text_config": _QWEN3_5_MOE_TEXT, "tie_word_embeddings": False}
    | {"vision_config": _QWEN3_VISION | {"deepstack_visual_indexes": [], "model_type": "qwen3_5_moe"}},
    "Qwen2.5-VL-7B": _USUAL
    | _UNTIED
    | {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl", "attention_dropout": 0.0}
    | {"bos_token_id": 500, "eos_token_id": 501, "image_token_id": 505, "max_position_embeddings": 128000}
    | {"max_window_layers": 2, "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-06}
    | {"rope_scaling": {"mrope_section": [2, 3, 3], "type": "mrope"}, "rope_theta": 1000000.0, "video_token_id": 506}
    | {"sliding_window": 32768, "use_sliding_window": False, "vision_end_token_id": 503, "vision_token_id": 504}
    | {"vision_config": _QWEN2_VISION | {"in_chans": 3, "spatial_patch_size": 14, "tokens_per_second": 2}}
    | {"vision_start_token_id": 502},
    "Qwen2-Audio-7B": {
        "architectures": ["Qwen2AudioForConditionalGeneration"],
        "model_type": "qwen2_audio",
        "ignore_index": -100,
    }
    | {"audio_config": _QWEN2_AUDIO, "audio_token_index": 505, "torch_dtype": "bfloat16", "vocab_size": 512}
    | {
        "text_config": _SIZES
        | {"bos_token_id": 500, "eos_token_id": 501, "max_position_embeddings": 8192, "model_type": "qwen2"}
        | {"num_hidden_layers": 2, "num_key_value_heads": 4, "rms_norm_eps": 1e-05, "rope_theta": 10000}
        | {"torch_dtype": "bfloat16", "use_mrope": False}
    },
    "Qwen2.5-Omni-7B": {"architectures": ["Qwen2_5OmniForConditionalGeneration"], "model_type": "qwen2_5_omni"}
    | {"enable_audio_output": False, "torch_dtype": "bfloat16"}
    | {
        "thinker_config": _OMNI_TOKENS
        | {"model_type": "qwen2_5_omni_thinker", "audio_end_token_id": 508, "audio_token_index": 507}
        | {"audio_config": _OMNI_AUDIO | {"model_type": "qwen2_5_omni_audio_encoder"}, "image_token_index": 505}
        | {"seconds_per_chunk": 2, "video_token_index": 506, "vision_end_token_id": 503, "vision_token_id": 504}
        | {
            "text_config": _SIZES
            | {"model_type": "qwen2_5_omni_text", "attention_dropout": 0.0, "hidden_act": "silu", "init_std": 0.02}
            | {"initializer_range": 0.02, "max_position_embeddings": 32768, "max_window_layers": 2}
            | {"num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0}
            | {"rope_scaling": _MROPE | {"type": "default"}, "sliding_window": 32768, "use_cache": True}
            | {"use_sliding_window": False}
        }
        | {
            "vision_config": _QWEN2_VISION
            | {"model_type": "qwen2_5_omni_vision_encoder", "embed_dim": 32, "in_channels": 3, "in_chans": 3}
            | {"init_std": 0.02, "spatial_patch_size": 14, "tokens_per_second": 25}
        }
        | {"vision_start_token_id": 502}
    },
    "Qwen3-Omni-30B-A3B": {"architectures": ["Qwen3OmniMoeForConditionalGeneration"], "model_type": "qwen3_omni_moe"}
    | {"assistant_token_id": 411, "dtype": "bfloat16", "enable_audio_output": False, "im_end_token_id": 501}
    | {"im_start_token_id": 498, "system_token_id": 412, "tts_bos_token_id": 509, "tts_eos_token_id": 510}
    | {
        "thinker_config": _OMNI_TOKENS
        | {"model_type": "qwen3_omni_moe_thinker", "audio_end_token_id": 508, "audio_token_id": 507}
        | {
            "audio_config": _OMNI_AUDIO
            | {"model_type": "qwen3_omni_moe_audio_encoder", "conv_chunksize": 500, "downsample_hidden_size": 16}
            | {"n_window": 50, "n_window_infer": 800}
        }
        | {"dtype": "bfloat16", "image_token_id": 505, "initializer_range": 0.02, "video_token_id": 506}
        | {
            "text_config": _QWEN3_VL_TEXT
            | _QWEN_EXPERTS
            | {"model_type": "qwen3_omni_moe_text", "max_position_embeddings": 65536, "rope_theta": 1000000}
            | {"rope_scaling": _INTERLEAVED_MROPE | {"interleaved": True, "type": "default"}, "sliding_window": None}
            | {"shared_expert_intermediate_size": 0, "tie_word_embeddings": False, "use_qk_norm": True}
            | {"use_sliding_window": False}
        }
        | {
            "vision_config": _QWEN3_VISION
            | {"model_type": "qwen3_omni_moe_vision_encoder", "apply_vit_abs_pos_embed": True, "image_size": 64}
            | {"spatial_patch_size": 16, "tokens_per_second": 2}
        }
        | {"vision_end_token_id": 503, "vision_start_token_id": 502}
    }
    | {"tts_pad_token_id": 511, "user_token_id": 410},
    "Gemma-3-4B": {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "boi_token_index": 500}
    | {"eoi_token_index": 501, "eos_token_id": [1, 106], "image_token_index": 502, "initializer_range": 0.02}
    | {"mm_tokens_per_image": 4, "torch_dtype": "bfloat16"}
    | {
        "text_config": _SIZES
        | {"head_dim": 32, "model_type": "gemma3_text", "num_hidden_layers": 6, "num_key_value_heads": 2}
        | {"rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": _WINDOW}
    }
    | {
        "vision_config": {"hidden_size": 32, "image_size": 56, "intermediate_size": 48}
        | {"model_type": "siglip_vision_model", "num_attention_heads": 2, "num_hidden_layers": 2}
        | {"patch_size": 14, "vision_use_head": False}
    },
    "Gemma-4-31B": _GEMMA_4_WHOLE
    | {"eos_token_id": [1, 106], "text_config": _GEMMA_4 | {"expert_intermediate_size": None}},
    "Gemma-4-26B-A4B": _GEMMA_4_WHOLE | {"text_config": _GEMMA_4 | _GEMMA_4_EXPERTS},
    "GLM-4.5V": {
        "architectures": ["Glm4vMoeForConditionalGeneration"],
        "model_type": "glm4v_moe",
        "image_end_token_id": 505,
    }
    | {"image_start_token_id": 504, "image_token_id": 508, "tie_word_embeddings": False, "torch_dtype": "bfloat16"}
    | {
        "text_config": _without(_GLM_4_5, "architectures", "num_nextn_predict_layers", "tie_word_embeddings")
        | {"model_type": "glm4v_moe_text", "image_end_token_id": 505, "image_start_token_id": 504}
        | {"image_token_id": 508, "max_position_embeddings": 65536, "rope_scaling": _MROPE, "rope_theta": 10000.0}
        | {"routed_scaling_factor": 1.0, "use_qk_norm": False}
    }
    | {"video_end_token_id": 507, "video_start_token_id": 506, "video_token_id": 509}
    | {
        "vision_config": _NO_BIAS
        | {"model_type": "glm4v_moe", "depth": 2, "hidden_act": "silu", "hidden_size": 32, "image_size": 56}
        | {"in_channels": 3, "initializer_range": 0.02, "intermediate_size": 96, "num_heads": 2, "patch_size": 14}
        | {"out_hidden_size": 64, "rms_norm_eps": 1e-05, "spatial_merge_size": 2, "temporal_patch_size": 2}
    },
    "ERNIE-4.5-VL-28B-A3B": {
        "architectures": ["Ernie4_5_VLMoeForConditionalGeneration"],
        "model_type": "ernie4_5_vl_moe",
    }
    | {"dtype": "bfloat16", "image_end_token_id": 505, "image_start_token_id": 504, "image_token_id": 508}
    | {
        "text_config": _SIZES
        | {"model_type": "ernie4_5_vl_moe_text", "bos_token_id": 1, "dtype": "bfloat16", "eos_token_id": 2}
        | {"hidden_act": "silu", "initializer_range": 0.02, "max_position_embeddings": 131072, "moe_k": 3}
        | {"mlp_layer_types": ["dense", "sparse", "sparse"], "moe_intermediate_size": [32, 16], "moe_num_experts": 8}
        | {"moe_norm_min": 1e-12, "moe_num_shared_experts": 2, "num_hidden_layers": 3, "num_key_value_heads": 2}
        | {"pad_token_id": 0, "rms_norm_eps": 1e-05, "router_aux_loss_coef": 0.001, "tie_word_embeddings": True}
        | {"rope_parameters": {"mrope_section": [3, 3, 2], "rope_theta": 500000.0, "rope_type": "default"}}
        | {"use_bias": False, "use_cache": True}
    }
    | {"tie_word_embeddings": True, "video_end_token_id": 507, "video_start_token_id": 506, "video_token_id": 509}
    | {"vision_config": _ERNIE_VISION},
    "EXAONE-4.5-33B": {
        "architectures": ["Exaone4_5_ForConditionalGeneration"],
        "model_type": "exaone4_5",
        "image_token_id": 67,
    }
    | {
        "text_config": _without(_EXAONE_4, "head_dim", "pad_token_id", "torch_dtype")
        | {"model_type": "exaone4_5_text", "dtype": "bfloat16", "eos_token_id": 53, "layer_types": _THREE_LOCAL}
        | {"max_position_embeddings": 262144, "max_window_layers": 4, "num_hidden_layers": 4}
        | {"reorder_qk_norm": True, "sliding_window": _WINDOW, "sliding_window_pattern": "LLLG"}
    }
    | {"tie_word_embeddings": False, "video_token_id": 68, "vision_end_token_id": 74, "vision_start_token_id": 73}
    | {
        "vision_config": _QWEN2_VISION
        | {"model_type": "exaone4_5_vision", "dtype": "bfloat16", "in_channels": 3, "initializer_range": 0.02}
        | {"num_heads": 4, "num_key_value_heads": 2, "tokens_per_second": 2}
    }
    | {"vision_token_id": 67, "vocab_size": 512},
    "Mistral-Small-3.1": _MISTRAL_3
    | {"image_token_index": 10, "torch_dtype": "bfloat16", "vision_config": _PIXTRAL | {"rope_theta": 10000.0}}
    | {
        "text_config": _without(_USUAL, "torch_dtype")
        | {"attention_dropout": 0.0, "head_dim": 32, "max_position_embeddings": 131072, "model_type": "mistral"}
        | {"num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "rope_theta": 1000000000.0}
        | {"sliding_window": None}
    },
    "Ministral-3-3B": _MISTRAL_3
    | {"dtype": "bfloat16", "image_token_index": 10, "tie_word_embeddings": True}
    | {
        "text_config": _without(_USUAL, "torch_dtype")
        | {"attention_dropout": 0.0, "head_dim": 32, "max_position_embeddings": 262144, "model_type": "ministral3"}
        | {"num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "sliding_window": None}
        | {"rope_parameters": _MINISTRAL_YARN, "tie_word_embeddings": True}
    }
    | {"vision_config": _PIXTRAL | {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}}},
    "MiniMax-M3": {"architectures": ["MiniMaxM3SparseForConditionalGeneration"], "model_type": "minimax_m3_vl"}
    | {"image_token_index": 505, "image_grid_pinpoints": "[(336, 336)]", "image_seq_length": 576}
    | {"img_token_compression_config": _COMPRESSION, "num_reward_heads": 0, "process_image_mode": "dynamic_res"}
    | {"projector_hidden_act": "gelu", "vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
    | {"multimodal_projector_bias": True, "projector_hidden_size": 64, "torch_dtype": "bfloat16"}
    | {
        "text_config": {
            "architectures": ["MiniMaxM3SparseForCausalLM"],
            "attention_output_gate": False,
            "head_dim": 32,
        }
        | {"dense_intermediate_size": 96, "hidden_act": "swigluoai", "hidden_size": 64, "intermediate_size": 32}
        | {"max_position_embeddings": 1048576, "moe_layer_freq": [0, 1, 1], "n_shared_experts": 1, "rotary_dim": 16}
        | {"num_attention_heads": 4, "num_experts_per_tok": 3, "num_hidden_layers": 3, "num_key_value_heads": 2}
        | {"num_local_experts": 8, "num_mtp_modules": 7, "num_nextn_predict_layers": 1, "partial_rotary_factor": 0.5}
        | {"qk_norm_type": "per_head", "rms_norm_eps": 1e-06, "rope_theta": 5000000, "routed_scaling_factor": 2.0}
        | {"scoring_func": "sigmoid", "shared_intermediate_size": 32, "sparse_attention_config": _SPARSE_ATTENTION}
        | {"swiglu_alpha": 1.702, "swiglu_limit": 7.0, "tie_word_embeddings": False, "use_gemma_norm": True}
        | {"use_qk_norm": True, "use_routing_bias": True, "vocab_size": 512}
    }
    | {"video_token_index": 506}
    | {
        "vision_config": {
            "attention_dropout": 0.0,
            "hidden_act": "gelu",
            "hidden_size": 32,
            "image_size": 56,
            "num_channels": 3,
        }
        | {"img_token_compression_config": _COMPRESSION, "initializer_factor": 1.0, "initializer_range": 0.02}
        | {"intermediate_size": 48, "layer_norm_eps": 1e-05, "model_type": "clip_vision_model", "patch_size": 14}
        | {"num_attention_heads": 2, "num_hidden_layers": 2, "position_embedding_type": "rope", "projection_dim": 64}
        | {"rope_mode": "3d", "rope_theta": 10000.0, "vision_segment_max_frames": 4, "vocab_size": 32000}
    },
}
