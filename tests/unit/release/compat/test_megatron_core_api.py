# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Megatron Core still has what the package uses of its private API."""

import argparse
import inspect

import pytest
import torch
import torch.distributed as dist
from megatron.core.dist_checkpointing.mapping import ShardedTensor

from megatron.bridge.release.compat import checkpoint_format, megatron_core_api


def test_rank_is_0_without_process_group():
    assert megatron_core_api.safe_get_rank() == 0


def test_nested_values_are_iterated():
    state = {"a": {"b": 1}, "c": [2]}
    assert sorted(megatron_core_api.nested_values(state)) == [1, 2]
    assert sorted(value for _, _, value in megatron_core_api.nested_items_iter(state)) == [1, 2]
    assert megatron_core_api.dict_list_map_outplace(lambda value: value + 1, state) == {"a": {"b": 2}, "c": [3]}


def test_common_state_file_name_is_common_pt():
    assert megatron_core_api.COMMON_STATE_FNAME == "common.pt"


def test_entries_are_converted_to_torch_s_state_dict():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        tensor = ShardedTensor.from_rank_offsets("weight", torch.ones(2))
        by_key, _, _ = megatron_core_api.replace_state_dict_keys_with_sharded_keys({"name": tensor}, True)
        assert list(by_key) == ["weight"]
        assert list(megatron_core_api.mcore_to_pyt_state_dict(by_key, False)) == ["weight"]
    finally:
        dist.destroy_process_group()


def test_save_strategy_and_planner_have_required_attributes():
    strategy = megatron_core_api.TorchDistSaveShardedStrategy("torch_dist", 1)
    assert isinstance(strategy.keep_only_main_replica, bool)
    assert callable(megatron_core_api.MCoreSavePlanner.create_global_plan)
    assert "strategy" in inspect.signature(megatron_core_api.FullyParallelSaveStrategyWrapper).parameters


def test_object_stores_are_disabled_by_default():
    assert megatron_core_api.MultiStorageClientFeature.is_enabled() is False
    assert callable(megatron_core_api.MultiStorageClientFeature.import_package)
    assert callable(megatron_core_api.maybe_msc.open)


def test_writer_has_a_results_queue():
    writer = megatron_core_api.core_writer()
    assert writer is None or hasattr(writer, megatron_core_api.RESULTS_QUEUE)


def test_process_groups_sets_required_groups():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        groups = megatron_core_api.process_groups(dist.group.WORLD)
        assert {"tp", "pp", "cp", "ep", "dp_cp"} <= vars(groups).keys() and groups.tp is groups.pp
    finally:
        dist.destroy_process_group()


def test_rng_tracker_forks():
    assert "name" in inspect.signature(megatron_core_api.CudaRNGStatesTracker.fork).parameters


def test_transformer_engine_modules_are_named():
    assert {"TENorm", "TELinear", "TEDotProductAttention"} <= {
        *megatron_core_api.transformer_engine_modules().values()
    }


@pytest.mark.parametrize(
    ("module", "name"),
    sorted(pair for pair in checkpoint_format.METADATA_CLASSES if pair[0].startswith("megatron.core")),
    ids=".".join,
)
def test_pickled_name_exists(module, name):
    assert hasattr(__import__(module, fromlist=["_"]), name)


def test_parser_has_defaults():
    parser = pytest.importorskip("megatron.bridge.release.compat.megatron_parser_api")
    args = parser.add_megatron_arguments(argparse.ArgumentParser()).parse_args([])
    assert args.num_layers is None and args.rope_scaling_factor == 8.0
    assert callable(parser.parse_args) and "args" in inspect.signature(parser.validate_args).parameters


def test_gpt_model_builder_has_required_parameters():
    training = pytest.importorskip("megatron.bridge.release.compat.megatron_training_api")
    assert "args" in inspect.signature(training.gpt_config_from_args).parameters
    assert {"pre_process", "post_process"} <= inspect.signature(training.GPTModelBuilder.build_model).parameters.keys()
