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

"""What is odd about a model is carried whole, or let go by name, or refused in one line."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import torch
from expected_errors import Containing, facts, raises, warns
from odd_models import ATTENTION, YARN, Tensors, assert_refused, make_odd, with_more, without
from roots import stored_args, tree
from safetensors.torch import load_file, save_file

from megatron.bridge import AutoBridge
from megatron.bridge.release.source.errors import UnmatchedPatternsError
from megatron.bridge.release.source.safetensors_index import read_index
from megatron.bridge.release.validation.errors import (
    CustomModelCodeError,
    ListExpectedError,
    UnknownConfigFieldError,
    UnsupportedDtypeError,
    UnsupportedKeywordError,
)
from megatron.bridge.release.validation.model_errors import (
    CastWarning,
    MissingTensorsProblem,
    NonFiniteError,
    SkippedTensorsWarning,
    TensorMismatchError,
    UnexpectedTensorsProblem,
    UnknownFieldsWarning,
)
from megatron.bridge.release.verify.check import check
from megatron.bridge.release.verify.findings import WaivedLoss
from megatron.bridge.release.verify.logits import compare_logits
from megatron.bridge.release.verify.weights import compare


_OWN_CODE = {"AutoConfig": "own.LlamaConfig", "AutoModelForCausalLM": "own.LlamaForCausalLM"}


def _stray_files(hf: Path) -> None:
    """What transformers does not read beside model.safetensors; each would win, or stop the import, if it were read."""
    other = {name: tensor + 1 for name, tensor in load_file(hf / "model.safetensors").items()}
    for name in ("consolidated", "model.fp16", "zzz"):
        save_file(other | {f"{name}.x": torch.ones(2)}, hf / f"{name}.safetensors", {"format": "pt"})
    (hf / "._model.safetensors").write_bytes(b"a file system's")
    (hf / "folder.safetensors").mkdir()
    (hf / "link.safetensors").symlink_to("gone")


def _head_in_float32(hf: Path) -> None:
    tensors = load_file(hf / "model.safetensors")
    head = tensors["model.embed_tokens.weight"].float()
    save_file(tensors | {"lm_head.weight": head}, hf / "model.safetensors", {"format": "pt"})


# Family, what is done to the folder, what the config says otherwise, keywords of the import.
CARRIED: dict[str, tuple[str, Callable[[Path], None] | None, dict[str, Any], dict[str, Any]]] = {
    "stray files": ("Llama 2", _stray_files, {}, {}),
    "a tied head in float32": ("Qwen2.5 (QKV bias, tied)", _head_in_float32, {}, {}),
    "code of its own": ("Llama 2", None, {"auto_map": _OWN_CODE}, {}),
    "the usual attention factor": (
        "Llama 2",
        None,
        {"rope_parameters": YARN | {"attention_factor": 0.1 * math.log(4.0) + 1}},
        {},
    ),
    "the dtype that is there": ("Llama 2", None, {}, {"torch_dtype": "auto"}),
    "the weights' dtype": ("Llama 2", None, {"dtype": ""}, {"dtype": "auto"}),
    "a quantization that nobody knows": ("Llama 2", None, {"quantization_config": {"quant_method": "new"}}, {}),
}


@pytest.mark.parametrize("name", CARRIED)
def test_import_supports_harmless_model_variants(families, tmp_path, name):
    family, change, config, keywords = CARRIED[name]
    hf = make_odd(families(family), tmp_path, None, config)
    if change is not None:
        change(hf)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True, **keywords)
    equal, problems = compare(tmp_path / "root/release", str(families(family)))
    assert problems == [] and equal == len(load_file(families(family) / "model.safetensors"))
    if "rope_parameters" in config:
        assert compare_logits(tmp_path / "root", hf).matches


def test_import_refuses_custom_code_when_remote_code_is_trusted(families, tmp_path):
    hf = make_odd(families("Llama 2"), tmp_path, None, {"auto_map": _OWN_CODE})
    expected = CustomModelCodeError(hf, tuple(_OWN_CODE.values()), ("LlamaForCausalLM",))
    assert_refused(hf, tmp_path / "root", expected, trust_remote_code=True)


def test_unused_tensors_can_be_waived_but_missing_tensors_cannot(families, tmp_path):
    hf = make_odd(families("Llama 2"), tmp_path, with_more(self_attn__q_norm__weight=(16,)), {})
    names = tuple(f"model.layers.{layer}.self_attn.q_norm.weight" for layer in range(2))
    unexpected = TensorMismatchError(str(hf), (UnexpectedTensorsProblem(names, ANY),))
    assert_refused(hf, tmp_path / "root", unexpected, allow_unused_tensors=["*.k_proj.weight"])
    no_match = UnmatchedPatternsError(("*.k_norm.weight",))
    assert_refused(hf, tmp_path / "root", no_match, allow_unused_tensors=["*.q_norm.weight", "*.k_norm.weight"])
    with warns(SkippedTensorsWarning(str(hf), names)):
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True, allow_unused_tensors=["*.q_norm.weight"])
    equal, problems = compare(tmp_path / "root/release", str(families("Llama 2")))
    assert problems == [] and equal == len(load_file(families("Llama 2") / "model.safetensors"))
    assert any(type(note) is WaivedLoss for note in check(tmp_path / "root").notes)
    less = make_odd(families("Llama 2"), tmp_path / "less", without("lm_head.weight"), {})
    missing = TensorMismatchError(str(less), (MissingTensorsProblem(("lm_head.weight",), ANY),))
    assert_refused(less, tmp_path / "other", missing, allow_unused_tensors=["*"])


@pytest.mark.parametrize(
    "keyword", [{"rms_norm_eps": 0.5}, {"num_hidden_layers": 1}, {"subfolder": "x"}, {"gguf_file": "x.gguf"}], ids=str
)
def test_import_refuses_unsupported_keyword(families, tmp_path, keyword):
    (name,) = keyword
    assert_refused(families("Llama 2"), tmp_path / "root", UnsupportedKeywordError((name,)), **keyword)


@pytest.mark.parametrize("keyword", [{"dtype": "bf16"}, {"torch_dtype": "int8"}, {"dtype": torch.float64}], ids=str)
def test_import_refuses_unsupported_dtype(families, tmp_path, keyword):
    ((name, dtype),) = keyword.items()
    expected = UnsupportedDtypeError(str(dtype).removeprefix("torch."), name, ("bfloat16", "float16", "float32"))
    assert_refused(families("Llama 2"), tmp_path / "root", expected, **keyword)


@pytest.mark.parametrize("keyword", ["allow_unused_tensors", "allow_config_fields"])
def test_allow_options_require_lists_of_strings(families, tmp_path, keyword):
    hf = make_odd(families("Llama 2"), tmp_path, None, {})
    for value in ("*.bias", None, [3]):
        assert_refused(hf, tmp_path / "root", ListExpectedError(keyword, repr(value)), **{keyword: value})


def test_allow_config_fields_refuses_unknown_field(families, tmp_path):
    hf = make_odd(families("Llama 2"), tmp_path, None, {})
    expected = UnknownConfigFieldError(("rope",), Containing("rope_parameters.rope_theta", "hidden_act"))
    assert_refused(hf, tmp_path / "root", expected, allow_config_fields=["rope"])


def test_import_skips_tensors_that_transformers_ignores(families, tmp_path):
    def more(tensors: Tensors) -> Tensors:
        head = {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}
        return tensors | head | {f"{ATTENTION}rotary_emb.inv_freq": torch.ones(8)}

    hf = make_odd(families("Qwen2.5 (QKV bias, tied)"), tmp_path, more, {})
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkippedTensorsWarning)
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert compare_logits(tmp_path / "root", hf).matches


def test_import_warns_about_unknown_config_field(families, tmp_path):
    hf = make_odd(families("Llama 2"), tmp_path, None, {"logit_softcap": 30.0})
    with warns(UnknownFieldsWarning(str(hf), (Containing("logit_softcap", "30.0"),))):
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)


# What is done to the tensors, what the config says otherwise, dtype of the release, number of tensors cast to it.
DTYPES: dict[str, tuple[Callable[[Tensors], Tensors] | None, dict[str, Any], torch.dtype, dict[str, int] | None]] = {
    "the weights' own": (None, {"dtype": ""}, torch.bfloat16, None),
    "most of the weights'": (
        lambda tensors: {name: t.float() if "norm" in name else t for name, t in tensors.items()},
        {"dtype": ""},
        torch.bfloat16,
        {"float32": 5},
    ),
    "the config's": (
        lambda tensors: {name: t.float() for name, t in tensors.items()},
        {},
        torch.bfloat16,
        {"float32": 21},
    ),
    "float16 to bfloat16": (
        lambda tensors: {name: t.half() for name, t in tensors.items()},
        {},
        torch.bfloat16,
        {"float16": 21},
    ),
    "float64": (
        lambda tensors: {name: t.double() for name, t in tensors.items()},
        {"dtype": ""},
        torch.float32,
        {"float64": 21},
    ),
    "wider": (None, {"dtype": "float32"}, torch.float32, None),
}


@pytest.mark.parametrize("name", DTYPES)
def test_release_has_the_dtype_of_the_config_or_the_weights(families, tmp_path, name):
    tensors, config, dtype, counts = DTYPES[name]
    hf = make_odd(families("Llama 2"), tmp_path, tensors, config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    casts = [facts(warning.message) for warning in caught if isinstance(warning.message, CastWarning)]
    name = str(dtype).removeprefix("torch.")
    assert casts == ([facts(CastWarning(counts, 21, name))] if counts else [])
    assert stored_args(tmp_path / "root").params_dtype is dtype
    equal, problems = compare(tmp_path / "root/release", str(hf))
    assert problems == [] and equal == 21


def test_float32_bias_of_experts_is_not_cast(families, tmp_path):
    hf = families("DeepSeek-V3 (MLA, shared experts)")
    assert read_index(hf)["model.layers.1.mlp.gate.e_score_correction_bias"].dtype == "F32"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert not [warning for warning in caught if isinstance(warning.message, CastWarning)]


def test_import_refuses_weights_that_overflow_float16(families, tmp_path):
    def large(tensors: Tensors) -> Tensors:
        tensors["model.norm.weight"][3] = 1e6
        return tensors

    hf = make_odd(families("Llama 2"), tmp_path, large, {"dtype": "float16"})
    with raises(NonFiniteError("decoder.final_layernorm.weight", "Inf", "float16")):
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert not (tmp_path / "root").exists()


def test_default_import_warns_about_missing_tensors(families, tmp_path):
    hf = make_odd(families("Llama 2"), tmp_path, without("lm_head.weight", f"{ATTENTION}q_proj.weight"), {})
    with pytest.warns(UserWarning, match=r"decoder.layers.1.self_attention.linear_qkv.weight, output_layer"):
        AutoBridge.import_ckpt(hf, tmp_path / "root")
    assert "iter_0000000/.metadata" in tree(tmp_path / "root")
