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


"""Every argument of Megatron-LM's parser that may change what a model computes is compared, or is listed here.

An export derives its config from the arguments that are compared and refuses what a config cannot express; `check`
compares the same. The test fails for an argument of a newer Megatron-LM: compare it (`args_table`, `args_comparison`),
or list it here if an exported model computes the same whatever its value is.
"""

import argparse
from dataclasses import fields

import pytest
from args_models import parser
from megatron.core.transformer.transformer_config import MLATransformerConfig, TransformerConfig
from megatron.training.arguments import add_megatron_arguments

from megatron.bridge.release.megatron_args.comparison import _NEVER_IMPORTED, _OLDER_NAMES
from megatron.bridge.release.megatron_args.flag_table import ARGUMENTS, LATER_ARGUMENTS, MODEL_ARGUMENTS


# Groups of the parser whose arguments are not the model's, unless they are fields of its config.
OTHER_GROUPS = {
    *("In-process restart", "Logits Distillation", "RNG and initialization", "autoresume", "biencoder"),
    *("checkpointing", "data and dataloader", "distributed init", "fault injector", "ft_package", "inference"),
    *("learning rate and weight decay", "logging", "msc", "one logger", "options", "positional arguments"),
    *("profiling", "regularization", "rerun engine", "rl", "sft", "straggler", "tokenizer", "training", "validation"),
    # Of other models.
    *("vision", "workload inspector"),
}

# Arguments of the model's config, or of the parser's other groups, that leave what an exported model computes alone.
WITHOUT_EFFECT = {
    "the precision of a training, whose weights are exported in the checkpoint's dtype": {
        *("batch_invariant_mode", "deterministic_mode", "disable_jit_fuser", "first_last_layers_bf16"),
        *("fp16_lm_cross_entropy", "fp4", "fp4_param_gather", "fp4_quantizer_factory", "fp4_recipe", "fp8"),
        *("fp8_amax_compute_algo", "fp8_amax_history_len", "fp8_interval", "fp8_margin", "fp8_output_proj"),
        *("fp8_param_gather", "fp8_quantizer_factory", "fp8_recipe", "fp8_wgrad", "grad_reduce_in_bf16"),
        *("accumulate_allreduce_grads_in_fp32", "hysteresis", "initial_loss_scale", "loss_scale"),
        *("kitchen_attention_backend", "loss_scale_window", "mamba_training_ssm_states_dtype", "min_loss_scale"),
        *("num_layers_at_end_in_bf16", "num_layers_at_start_in_bf16", "reuse_grad_buf_for_mxfp8_param_ag"),
        *("te_precision_config_file", "use_kitchen_attention"),
    },
    "another implementation of the same function": {
        *("apply_rope_fusion", "attention_backend", "bias_dropout_fusion", "bias_gelu_fusion", "bias_swiglu_fusion"),
        *("cross_entropy_fusion_impl", "cross_entropy_loss_fusion", "dsa_kernel_backend", "flash_attention_version"),
        *("flash_decode", "fused_residual_rmsnorm", "gradient_accumulation_fusion", "masked_softmax_fusion"),
        *("moe_permute_fusion", "moe_permute_fusion_into_hybridep", "moe_router_fusion", "transformer_impl"),
        *("moe_router_padding_for_fp8", "moe_router_padding_for_quantization", "onnx_safe"),
        *("use_fused_weighted_squared_relu", "use_grouped_gemm_for_dense_mlp", "use_grouped_gemm_for_shared_expert"),
        *("use_mamba_mem_eff_path", "use_te_activation_func", "use_transformer_engine_op_fuser"),
    },
    "tensors in other places of a checkpoint; an export requires that each has a place in the source model": {
        *("mla_down_proj_fusion", "moe_single_grouped_bias", "moe_single_grouped_weight"),
    },
    "initial values": {
        *("embedding_init_method_std", "init_method_std", "init_model_with_meta_device", "mup_width_mult"),
        *("inference_rng_tracker", "perform_initialization", "use_cpu_initialization"),
    },
    "the loss, and changes of the weights beside those of the optimizer": {
        *("calculate_per_token_loss", "dsa_indexer_loss_coeff", "dsa_indexer_use_sparse_loss", "mtp_detach_heads"),
        # Used with one method of load balancing, which is compared.
        "moe_router_quantile_balancing_ema",
        *("qk_clip", "qk_clip_alpha", "qk_clip_threshold"),
    },
    "inference in Megatron-LM": {
        *("cache_mla_latents", "inference_cuda_graph_scope", "inference_disable_triton_nvls_kernels"),
        *("inference_fuse_tp_communication", "inference_grouped_gemm_backend", "mlp_chunks_for_prefill"),
        *("inference_moe_disable_fused_quant_kernels", "inference_moe_token_dispatcher_type"),
        *("moe_enable_routing_replay", "moe_pad_experts_for_cuda_graph_inference", "nccl_all_reduce_for_prefill"),
    },
    "memory, and what is computed when": {
        *("activation_offload_fraction", "clone_scatter_output_in_embedding", "cpu_offloading_num_layers"),
        *("cpu_offloading_retain_pinned_cpu_buffers", "cuda_graph_impl", "cuda_graph_modules"),
        *("cuda_graph_warmup_steps", "defer_embedding_wgrad_compute", "delay_offload_until_cuda_graph"),
        *("delay_wgrad_compute", "delta_offload_bytes_across_pp_ranks", "distribute_saved_activations"),
        *("enable_cuda_graph", "ep_overlap_early_attn_memory_release", "external_cuda_graph"),
        *("fine_grained_activation_offloading", "fine_grained_offloading_max_inflight_offloads"),
        *("keep_fp8_transpose_cache", "min_offloaded_tensor_size", "mlp_chunks_for_training", "moe_layer_recompute"),
        *("moe_paged_stash", "moe_paged_stash_buffer_size_factor_cpu", "moe_paged_stash_buffer_size_factor_cuda"),
        *("moe_paged_stash_page_size", "moe_shared_expert_overlap", "offload_modules"),
        *("overlap_dispatch_backward_with_experts_wgrad", "recompute_granularity", "recompute_method"),
        *("recompute_modules", "recompute_num_layers", "wgrad_deferral_limit"),
    },
    "the layout of a run and its communication": {
        *("account_for_embedding_in_pipeline_split", "account_for_loss_in_pipeline_split", "cp_comm_type"),
        *("expert_tensor_parallel_num_weight_shards", "hierarchical_context_parallel_sizes"),
        *("high_priority_a2a_comm_stream", "hybrid_context_parallel", "max_seqlen_per_dp_cp_rank"),
        *("microbatch_group_size_per_vp_stage", "moe_deepep_num_sms", "moe_enable_deepep"),
        *("moe_flex_dispatcher_backend", "moe_flex_dispatcher_num_sms", "moe_hybridep_num_blocks_permute"),
        *("moe_hybridep_num_blocks_unpermute", "moe_hybridep_num_sms", "moe_hybridep_num_sms_preprocessing"),
        *("moe_hybridep_pad_uneven_dispatch_inputs", "moe_ncclep_static_shape", "moe_ncclep_zero_copy"),
        *("mtp_standalone", "overlap_moe_expert_parallel_comm", "overlap_p2p_comm", "overlap_p2p_comm_warmup_flush"),
        *("pipeline_model_parallel_comm_backend", "pipeline_model_parallel_layout", "sequence_parallel"),
        *("symmetric_ar_type", "tensor_parallel_num_weight_shards", "tp_comm_bootstrap_backend"),
        *("tp_comm_bulk_dgrad", "tp_comm_bulk_wgrad", "tp_comm_overlap", "tp_comm_overlap_ag", "tp_comm_overlap_rs"),
        *("tp_comm_overlap_rs_dgrad", "tp_comm_split_ag", "tp_comm_split_rs", "use_ring_exchange_p2p"),
    },
    "what is logged and tested": {
        *(
            "barrier_with_L1_time",
            "config_logger_dir",
            "log_max_attention_logit",
            "moe_per_layer_logging",
            "test_mode",
        ),
    },
    "how a training starts": {
        # The experts that it makes are compared.
        *("moe_upcycling_granularity", "moe_use_upcycling"),
        # Set from num_layers; of models with an encoder, whose tensors have no place in a source model.
        *("decoder_num_layers", "encoder_num_layers"),
        "enable_experimental",
    },
    "the optimizer and its memory": {
        *("exp_avg_dtype", "exp_avg_sq_dtype", "fsdp_db_use_persist_buf_on_alloc_fail", "main_grads_dtype"),
        *("main_params_dtype", "megatron_fsdp_enable_fine_grained_param_gather", "megatron_fsdp_grad_comm_dtype"),
        *("megatron_fsdp_main_grads_dtype", "megatron_fsdp_main_params_dtype"),
        *("megatron_fsdp_max_pool_double_buffer", "use_precision_aware_optimizer"),
    },
    "what Megatron-LM's builder of GPT models ignores, or derives position_embedding_type from": {
        *("add_position_embedding", "bert_binary_head", "openai_gelu", "relative_attention_max_distance"),
        *("relative_attention_num_buckets", "use_rotary_position_embeddings"),
    },
}

COMPARED = {argument.name for argument in ARGUMENTS} | _NEVER_IMPORTED.keys() | set(_OLDER_NAMES.values())
LISTED = set().union(*WITHOUT_EFFECT.values())
CONFIG_FIELDS = {field.name for cls in (TransformerConfig, MLATransformerConfig) for field in fields(cls)}


def _unaccounted(of: argparse.ArgumentParser, config_fields: set[str]) -> set[str]:
    """Return the arguments that may change what a model computes, and are neither compared nor listed."""
    names = {
        action.dest
        for group in of._action_groups
        for action in group._group_actions
        if group.title not in OTHER_GROUPS or action.dest in config_fields
    }
    return names - COMPARED - LISTED


def test_every_model_argument_is_compared_or_listed():
    assert _unaccounted(parser(), CONFIG_FIELDS) == set()


def test_lists_contain_only_arguments_of_the_parser():
    known = {action.dest for action in parser()._actions}
    groups = {group.title for group in parser()._action_groups}
    assert LISTED - known == set() and OTHER_GROUPS - groups == set()
    assert LISTED & COMPARED == set() and MODEL_ARGUMENTS - known == set()
    assert LATER_ARGUMENTS - MODEL_ARGUMENTS == set()
    assert sum(len(names) for names in WITHOUT_EFFECT.values()) == len(LISTED)


@pytest.mark.parametrize("group", ["transformer configuration", "network size", "a new group"])
def test_new_model_argument_is_found(group):
    newer = add_megatron_arguments(argparse.ArgumentParser())
    groups = {each.title: each for each in newer._action_groups}
    (groups.get(group) or newer.add_argument_group(group)).add_argument("--a-new-kind-of-norm")
    assert _unaccounted(newer, CONFIG_FIELDS) == {"a_new_kind_of_norm"}


def test_new_argument_with_a_config_field_is_found():
    newer = add_megatron_arguments(argparse.ArgumentParser())
    (training,) = (each for each in newer._action_groups if each.title == "training")
    training.add_argument("--a-new-kind-of-norm")
    assert _unaccounted(newer, CONFIG_FIELDS) == set()
    assert _unaccounted(newer, CONFIG_FIELDS | {"a_new_kind_of_norm"}) == {"a_new_kind_of_norm"}
