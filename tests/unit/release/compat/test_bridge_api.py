# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Megatron-Bridge still has what the package uses of its private API."""

import inspect
from types import SimpleNamespace

import pytest
from transformers import BertConfig, LlamaConfig

from megatron.bridge import AutoBridge
from megatron.bridge.models.conversion.model_bridge import MegatronModelBridge
from megatron.bridge.models.conversion.param_mapping import AutoMapping
from megatron.bridge.models.hf_pretrained.base import PreTrainedBase
from megatron.bridge.release.compat import bridge_api


@pytest.fixture(scope="module")
def bridge():
    """The bridge of a tiny model's config."""
    config = LlamaConfig(architectures=["LlamaForCausalLM"], num_hidden_layers=1)
    return AutoBridge.from_hf_config(config)


def test_model_bridge_is_that_of_the_architecture(bridge):
    assert type(bridge_api.architecture_bridge(bridge)).__name__ == "LlamaBridge"


def test_unsupported_architecture_is_refused():
    with pytest.raises(ValueError):
        bridge_api.check_is_supported(AutoBridge, BertConfig(architectures=["BertModel"]))


def test_embeddings_are_shared_if_tied(bridge):
    model_bridge = bridge_api.architecture_bridge(bridge)
    for tied in (True, False):
        provider = SimpleNamespace(share_embeddings_and_output_weights=tied)
        assert bridge_api.shares_embeddings(model_bridge, provider) is tied


def test_adapter_parameters_are_recognized(bridge):
    model_bridge = bridge_api.architecture_bridge(bridge)
    assert bridge_api.is_adapter_parameter(model_bridge, "decoder.layers.0.linear.adapter.linear_in.weight")
    assert not bridge_api.is_adapter_parameter(model_bridge, "decoder.layers.0.linear.weight")


def test_mappings_have_their_attributes():
    mapping = AutoMapping("a.weight", "b.weight")
    assert bridge_api.finds_tensors_itself(mapping) is bridge_api.is_expert_of_group(mapping) is False


def test_models_keep_the_keywords_of_their_loading():
    assert "self.init_kwargs" in inspect.getsource(PreTrainedBase.__init__)
    assert bridge_api.load_keywords(SimpleNamespace(init_kwargs={"revision": "v1"})) == {"revision": "v1"}
    assert bridge_api.load_keywords(LlamaConfig()) == {}


def test_model_bridge_has_load_weights_hf_to_megatron():
    assert callable(MegatronModelBridge.load_weights_hf_to_megatron)
