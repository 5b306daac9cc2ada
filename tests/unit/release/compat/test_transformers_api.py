# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""transformers and huggingface_hub still have what the package uses of their private API."""

import json
from contextlib import nullcontext

import pytest
from tokenizers import Tokenizer, models
from transformers import LlamaConfig

from megatron.bridge.release.compat import hub_api, transformers_api


def test_language_models_are_listed_by_type():
    assert transformers_api.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES["llama"] == "LlamaForCausalLM"
    assert transformers_api.CONFIG_MAPPING["llama"] is LlamaConfig


def test_file_of_a_directory_is_found(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    assert transformers_api.cached_file(tmp_path, "tokenizer.json") == str(tmp_path / "tokenizer.json")


def test_ignored_weights_are_patterns():
    assert any("mtp" in pattern for pattern in transformers_api.ignored_weight_patterns("Qwen3NextForCausalLM"))
    assert transformers_api.ignored_weight_patterns("NoSuchModel") == []


def test_builtin_config_is_recognized():
    class OwnConfig(LlamaConfig):
        pass

    assert transformers_api.is_builtin_config(LlamaConfig()) and not transformers_api.is_builtin_config(OwnConfig())


@pytest.mark.parametrize(("method", "expected"), [("gptq", True), ("none_such", False)])
def test_quantization_methods_are_recognized(method, expected):
    assert transformers_api.AutoHfQuantizer.supports_quant_method({"quant_method": method}) is expected


def test_config_dict_has_no_defaults(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 8}))
    content = transformers_api.read_config_dict(tmp_path)
    assert content["hidden_size"] == 8 and "num_hidden_layers" not in content


def test_tokenizers_backend_creates_instance_of_same_class():
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    assert type(transformers_api.TokenizersBackend(tokenizer_object=tokenizer)) is transformers_api.TokenizersBackend


def test_experts_are_computed_eagerly():
    assert LlamaConfig(**transformers_api.EAGER_EXPERTS)._experts_implementation == "eager"


@pytest.mark.parametrize(("name", "expected"), [("org/model", True), ("../model", False), ("a/b/c", False)])
def test_repo_ids_are_validated(name, expected):
    with nullcontext() if expected else pytest.raises(hub_api.HFValidationError):
        hub_api.validate_repo_id(name)
