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

"""Megatron-LM's arguments of a model: the tables are complete, and agree with Megatron-LM's own parser."""

import functools
import subprocess
from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F
from args_models import gpt_model, no_flag, options, parser
from megatron.core.activations import squared_relu
from megatron.core.fusions.fused_bias_geglu import quick_gelu
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_decoder_block_spec

from megatron.bridge.models.gemma.gemma_provider import GemmaModelProvider
from megatron.bridge.models.gpt_provider import GPTModelProvider
from megatron.bridge.models.hybrid.hybrid_provider import HybridModelProvider
from megatron.bridge.models.mla_provider import MLAModelProvider
from megatron.bridge.release.megatron_args import args as release_args
from megatron.bridge.release.megatron_args.args import megatron_lm_args, unsupported_fields
from megatron.bridge.release.megatron_args.flag_format import megatron_lm_flags
from megatron.bridge.release.megatron_args.flag_table import (
    ARGUMENTS,
    PARSER_DEFAULTS,
    UNSUPPORTED_FIELDS,
)
from megatron.bridge.release.rope_factor import ENTRY_POINT_FLAG


# Fields that providers of upstream after 0.6 alone have.
LATER = {"logit_dtype"}

# Fields of a provider that say how a run goes (where, how fast, from which initial weights, with which training
# losses), never what the trained model computes, and those that others give.
HOW_IT_RUNS = set(
    """
    _cpu_offloading_context _pg_collection account_for_embedding_in_pipeline_split account_for_loss_in_pipeline_split
    activation_func_fp8_input_store activation_offload_fraction apply_rope_fusion attention_backend autocast_dtype
    barrier_with_L1_time batch_invariant_mode batch_p2p_comm batch_p2p_sync bias_activation_fusion
    bias_dropout_fusion cache_mla_latents calculate_per_token_loss clone_scatter_output_in_embedding
    config_logger_dir cp_comm_type cpu_offloading cpu_offloading_activations cpu_offloading_double_buffering
    cpu_offloading_num_layers cpu_offloading_retain_pinned_cpu_buffers cpu_offloading_weights
    cross_entropy_fusion_impl cross_entropy_loss_fusion cuda_graph_impl cuda_graph_modules
    cuda_graph_retain_backward_graph cuda_graph_scope cuda_graph_use_single_mempool cuda_graph_warmup_steps
    deallocate_pipeline_outputs defer_embedding_wgrad_compute delay_offload_until_cuda_graph delay_wgrad_compute
    delta_offload_bytes_across_pp_ranks dense_grouped_gemm deterministic_mode disable_parameter_transpose_cache
    distribute_saved_activations dsa_indexer_loss_coeff dsa_indexer_use_sparse_loss dsa_kernel_backend
    embedding_init_method embedding_init_method_std enable_autocast enable_cuda_graph
    ep_overlap_early_attn_memory_release experimental_attention_variant_loss_scale_func expert_gtp_weight_remat_size
    expert_tensor_parallel_num_weight_shards external_cuda_graph finalize_model_grads_func
    fine_grained_activation_offloading fine_grained_offloading_max_inflight_offloads first_last_layers_bf16
    flash_attention_version flash_decode fp16_lm_cross_entropy fp4 fp4_param fp4_quantizer_factory fp4_recipe fp8
    fp8_amax_compute_algo fp8_amax_history_len fp8_dot_product_attention fp8_interval fp8_margin
    fp8_multi_head_attention fp8_output_proj fp8_param fp8_quantizer_factory fp8_recipe fp8_wgrad
    fused_residual_rmsnorm fused_single_qkv_rope grad_scale_func grad_sync_func gradient_accumulation_fusion
    gtp_weight_remat_size hetereogenous_dist_checkpoint hf_model_id hf_model_revision
    hierarchical_context_parallel_sizes high_priority_a2a_comm_stream hybrid_context_parallel
    inference_cuda_graph_scope inference_disable_triton_nvls_kernels inference_fuse_tp_communication
    inference_grouped_gemm_backend inference_moe_disable_fused_quant_kernels inference_moe_token_dispatcher_type
    inference_rng_tracker inference_sampling_seed init_method init_method_std init_model_with_meta_device
    kitchen_attention_backend log_max_attention_logit mamba_training_ssm_states_dtype masked_softmax_fusion
    max_seqlen_per_dp_cp_rank memory_efficient_layer_norm
    microbatch_group_size_per_vp_stage min_offloaded_tensor_size mla_down_proj_fusion mlp_chunks_for_prefill
    mlp_chunks_for_training moe_deepep_num_sms moe_enable_deepep moe_enable_routing_replay
    moe_expert_rank_capacity_factor moe_flex_dispatcher_backend moe_flex_dispatcher_num_sms moe_grad_scale_func
    moe_hybridep_num_blocks_permute moe_hybridep_num_blocks_unpermute moe_hybridep_num_sms
    moe_hybridep_num_sms_preprocessing moe_hybridep_pad_uneven_dispatch_inputs moe_layer_recompute
    moe_mlp_glu_interleave_size moe_ncclep_static_shape moe_ncclep_zero_copy moe_pad_experts_for_cuda_graph_inference
    moe_paged_stash moe_paged_stash_buffer_size_factor_cpu moe_paged_stash_buffer_size_factor_cuda
    moe_paged_stash_page_size moe_per_layer_logging moe_permute_fusion moe_permute_fusion_into_hybridep
    moe_router_force_biased moe_router_force_load_balancing moe_router_fusion moe_router_padding_for_fp8
    moe_router_padding_for_quantization moe_router_quantile_balancing_ema moe_shared_expert_glu_interleave_size
    moe_shared_expert_overlap moe_single_grouped_bias moe_single_grouped_weight moe_token_dropping mtp_detach_heads
    mtp_enabled mtp_grad_scale_func mtp_hybrid_override_pattern mtp_standalone mup_width_mult
    nccl_all_reduce_for_prefill no_sync_func num_layers_at_end_in_bf16 num_layers_at_start_in_bf16
    num_layers_in_first_pipeline_stage num_layers_in_last_pipeline_stage
    num_microbatches_with_partial_activation_checkpoints offload_modules output_layer_init_method
    overlap_dispatch_backward_with_experts_wgrad overlap_moe_expert_parallel_comm overlap_p2p_comm
    overlap_p2p_comm_warmup_flush parallel_output param_sync_func params_dtype perform_initialization
    persist_layer_norm pipeline_dtype pipeline_model_parallel_comm_backend pipeline_model_parallel_layout qk_clip
    qk_clip_alpha qk_clip_threshold recompute_granularity recompute_method recompute_modules recompute_num_layers
    restore_modelopt_state scatter_embedding_sequence_parallel sequence_parallel should_pad_vocab symmetric_ar_type
    tensor_parallel_num_weight_shards test_mode timers tp_comm_atomic_ag tp_comm_atomic_rs tp_comm_bootstrap_backend
    tp_comm_bulk_dgrad tp_comm_bulk_wgrad tp_comm_overlap tp_comm_overlap_ag tp_comm_overlap_cfg
    tp_comm_overlap_disable_fc1 tp_comm_overlap_disable_qkv tp_comm_overlap_rs tp_comm_overlap_rs_dgrad
    tp_comm_split_ag tp_comm_split_rs tp_only_amax_red transformer_impl transformer_layer_spec
    use_arbitrary_attention_mask use_cpu_initialization use_fused_weighted_squared_relu
    use_grouped_gemm_for_dense_mlp use_grouped_gemm_for_shared_expert use_inference_optimized_layers use_kitchen
    use_kitchen_attention use_mamba_mem_eff_path use_ring_exchange_p2p use_te_activation_func use_te_rng_tracker
    use_transformer_engine_full_layer_spec use_transformer_engine_op_fuser variable_seq_lengths wgrad_deferral_limit
    hybrid_attention_ratio hybrid_mlp_ratio hybrid_override_pattern hybrid_stack_spec keep_mtp_spec_in_bf16
    mamba_chunk_size
    """.split()
)

LAYER_FREQUENCY = [0, *[1] * 26]

MODELS = {
    "dense": gpt_model(),
    "gated silu": gpt_model(activation_func=F.silu, gated_linear_unit=True, num_query_groups=2, kv_channels=32),
    "quick geglu": gpt_model(activation_func=quick_gelu, gated_linear_unit=True),
    "squared relu": gpt_model(activation_func=squared_relu, window_size=(127, 0), window_attn_skip_freq=[1, 1, 0, 1]),
    "rope": gpt_model(
        position_embedding_type="rope", rotary_base=1000000.0, rope_scaling=True, rope_scaling_factor=8.0
    ),
    "experts": gpt_model(
        num_moe_experts=8,
        moe_layer_freq=LAYER_FREQUENCY,
        moe_router_load_balancing_type=["aux_loss", "seq_aux_loss"],
        moe_aux_loss_coeff=[0.01, 0.02],
    ),
    "latent attention": gpt_model(
        MLAModelProvider, multi_latent_attention=True, num_moe_experts=8, moe_shared_expert_intermediate_size=64
    ),
    "yarn": gpt_model(position_embedding_type="yarn", yarn_correction_range_round_to_int=False),
    "hybrid": HybridModelProvider(
        hidden_size=64, num_attention_heads=4, hybrid_layer_pattern="M-M*-", vocab_size=1000
    ),
    "mrope": gpt_model(position_embedding_type="mrope", mrope_section=[16, 24, 24]),
    "uncommon": gpt_model(mtp_num_layers=1, dsa_indexer_scoring_relu=False, no_rope_freq=[0, 0, 0, 1]),
}


def test_every_provider_field_is_mapped_or_listed():
    providers = (GPTModelProvider, MLAModelProvider, HybridModelProvider)
    names = {field.name for cls in providers for field in fields(cls)}
    mapped = {name for argument in ARGUMENTS for name in argument.fields}
    places = [mapped, set(UNSUPPORTED_FIELDS), HOW_IT_RUNS]
    assert names - set.union(*places) == set(), "map these, or say that they cannot be, or that they change nothing"
    for argument in ARGUMENTS:
        unknown = set(argument.fields) - names
        assert not unknown, f"no provider has {', '.join(sorted(unknown))}, of which the table makes {argument.name}"
    gone = set.union(*places) - names - LATER
    assert not gone, f"no provider has {', '.join(sorted(gone))}: take them out of UNSUPPORTED_FIELDS or HOW_IT_RUNS"
    assert sum(len(place & names) for place in places) == len(names), "one place for a field"


def test_unsupported_fields_have_no_argument():
    assert set(UNSUPPORTED_FIELDS) & set(vars(parser().parse_args([]))) == set()


def test_argument_table_matches_megatron_lm_parser():
    defaults = vars(parser().parse_args([]))
    for argument in ARGUMENTS:
        # Megatron-LM adds one of the layout's arguments when it validates the others.
        assert defaults.get(argument.name, argument.default) == argument.default, argument
        if argument.flag is not None:
            action = options().get(argument.flag)
            assert action, no_flag(argument)
            assert action.dest == argument.name
            # A switch: the tables write it where the value is not the default.
            assert (action.nargs == 0) == isinstance(action.const, bool), argument
            if action.nargs == 0:
                assert action.const is not (argument.default or None), argument


def test_parser_defaults_match_the_parser():
    assert {name: parser().get_default(name) for name in PARSER_DEFAULTS} == PARSER_DEFAULTS


@pytest.mark.parametrize("name", MODELS)
def test_parsed_flags_equal_the_args(name):
    args = megatron_lm_args(MODELS[name])
    parsed = parser().parse_args(megatron_lm_flags(args))
    for argument in ARGUMENTS:
        if argument.flag is not None:
            assert argument.name in vars(parsed), no_flag(argument)
            found = getattr(parsed, argument.name)
            if isinstance(found, list) and len(found) == 1:
                # Megatron-LM makes one value of it when it validates its arguments.
                (found,) = found
            assert found == getattr(args, argument.name), argument


@pytest.mark.parametrize("name", MODELS)
def test_flags_are_the_same_without_the_parser(name, monkeypatch):
    expected = megatron_lm_args(MODELS[name])
    with monkeypatch.context() as patch:
        patch.setattr(release_args, "_parser_defaults", dict)
        found = megatron_lm_args(MODELS[name])
    assert megatron_lm_flags(found) == megatron_lm_flags(expected)
    assert vars(found).items() <= vars(expected).items()


@pytest.mark.parametrize("name", MODELS)
def test_args_load_with_weights_only(name, tmp_path):
    args = megatron_lm_args(MODELS[name])
    torch.save({"args": args}, tmp_path / "common.pt")
    # Megatron Core declares Namespace safe when it is imported.
    assert torch.load(tmp_path / "common.pt", weights_only=True)["args"] == args


@pytest.mark.parametrize("reader", ["printf '%s\\n' $(cat flags)", "xargs printf '%s\\n' < flags"])
@pytest.mark.parametrize("name", MODELS)
def test_shell_passes_flags_unchanged(name, reader, tmp_path):
    flags = megatron_lm_flags(megatron_lm_args(MODELS[name]))
    (tmp_path / "flags").write_text("".join(f"{flag}\n" for flag in flags))
    # Names that a bare [1]*26 would be taken for.
    for file in ("--moe-layer-freq=11", "--moe-layer-freq=(0+126)"):
        (tmp_path / file).touch()
    run = subprocess.run(["bash", "-c", reader], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:-1] == flags


def test_vocabulary_is_padded_for_usual_tp_sizes():
    for vocab_size, divisible_by, padded in ((1000, 1, 1024), (1024, 128, 1024), (1001, 3, 1152), (50257, 512, 50688)):
        args = megatron_lm_args(gpt_model(vocab_size=vocab_size, make_vocab_size_divisible_by=divisible_by))
        assert args.padded_vocab_size == padded and padded % args.make_vocab_size_divisible_by == 0
        assert args.make_vocab_size_divisible_by % divisible_by == 0


def _own_layer_spec(config):
    raise NotImplementedError


@pytest.mark.parametrize(
    "model, lacking",
    [
        (gpt_model(), []),
        (gpt_model(activation_func=F.silu, gated_linear_unit=True), []),
        (gpt_model(rope_scaling=True, rope_scaling_factor=8.0), []),
        (gpt_model(rope_scaling=True, rope_scaling_factor=32.0), []),
        (gpt_model(softmax_scale=0.5), ["softmax_scale"]),
        (gpt_model(rotary_base=10000.5), ["rotary_base"]),
        (gpt_model(rotary_base=(10000, 1000000)), ["rotary_base"]),
        (gpt_model(window_size=512), ["window_size"]),
        (gpt_model(window_size=[511, 0]), []),
        (gpt_model(MLAModelProvider, multi_latent_attention=True, num_query_groups=4), []),
        (
            gpt_model(MLAModelProvider, multi_latent_attention=True, num_query_groups=2),
            ["num_query_groups"],
        ),
        (gpt_model(seq_len_interpolation_factor=2.5), ["seq_len_interpolation_factor"]),
        (gpt_model(activation_func=F.gelu, gated_linear_unit=True), ["activation_func=gated gelu"]),
        (gpt_model(activation_func=F.relu), ["activation_func=relu"]),
        (gpt_model(transformer_layer_spec=_own_layer_spec), ["transformer_layer_spec=_own_layer_spec"]),
        (
            gpt_model(
                transformer_layer_spec=functools.partial(get_gpt_decoder_block_spec, use_transformer_engine=True)
            ),
            [],
        ),
    ],
)
def test_unsupported_fields_are_named(model, lacking):
    assert unsupported_fields(model) == lacking


@pytest.mark.parametrize(
    "scaled, factor, marked", [(True, 32.0, True), (True, 8.0, False), (True, 8, False), (False, 32.0, False)]
)
def test_flags_require_the_entry_point_for_an_ignored_factor(scaled, factor, marked):
    flags = megatron_lm_flags(megatron_lm_args(gpt_model(rope_scaling=scaled, rope_scaling_factor=factor)))
    assert (ENTRY_POINT_FLAG in flags) == marked
    assert ("--rope-scaling-factor" in " ".join(flags)) == scaled


def test_provider_with_custom_builder_is_unsupported():
    assert "GemmaModelProvider" in unsupported_fields(gpt_model(GemmaModelProvider))
    assert unsupported_fields(MODELS["hybrid"]) == ["HybridModelProvider"]


@pytest.mark.parametrize(
    "field, value", [("rotary_base", 10000.5), ("rotary_base", (10000, 1000000)), ("window_size", 512)]
)
def test_values_that_the_parser_refuses_are_not_passed(field, value):
    args = megatron_lm_args(gpt_model(position_embedding_type="rope", **{field: value}))
    assert getattr(args, field) == value
    flags = megatron_lm_flags(args)
    assert [flag for flag in flags if flag.startswith(f"--{field.replace('_', '-')}")] == []
    parser().parse_args(flags)


def test_latent_attention_gets_no_query_groups():
    flags = megatron_lm_flags(
        megatron_lm_args(gpt_model(MLAModelProvider, multi_latent_attention=True, num_query_groups=4))
    )
    assert "--multi-latent-attention" in flags and "--group-query-attention" not in flags
    assert not any(flag.startswith("--num-query-groups") for flag in flags)
