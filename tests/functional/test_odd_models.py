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


"""Models that are not what their config says are refused, in one line and before any weight is read, or carried whole."""

import json
import math
import os
import re
import shutil
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from models import FAMILIES, save_random_model
from roots import tree
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from megatron.bridge import AutoBridge
from megatron.bridge.models.conversion.model_bridge import MegatronModelBridge
from megatron.bridge.models.hf_pretrained.causal_lm import PreTrainedCausalLM
from megatron.bridge.training.model_load_save import save_megatron_model, temporary_distributed_context
from megatron.bridge_release.checking import check
from megatron.bridge_release.comparing import compare
from megatron.bridge_release.computing import prove


Tensors = dict[str, torch.Tensor]
_LLAMA3 = FAMILIES["Llama 3.1 (rope scaling)"].config.rope_parameters
_YARN = {"rope_type": "yarn", "rope_theta": 10000, "factor": 4.0, "original_max_position_embeddings": 512}
ATTENTION = "model.layers.1.self_attn."
INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module", params=None)
def families(tmp_path_factory) -> Callable[[str], Path]:
    """A model of each family, made when it is first asked for."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = save_random_model(tmp_path_factory.mktemp("family") / "hf", FAMILIES[name].config)
        return made[name]

    return make


def _without(*names: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if name not in names}


def _with(**more: tuple[int, ...]) -> Callable[[Tensors], Tensors]:
    """Add a tensor of a shape to each layer; `__` stands for a dot."""
    added = {
        f"model.layers.{layer}.{name.replace('__', '.')}": shape for name, shape in more.items() for layer in range(2)
    }
    return lambda tensors: tensors | {name: torch.ones(shape) for name, shape in added.items()}


def _renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {new + name.removeprefix(old): tensor for name, tensor in tensors.items()}


def _projections(change: Callable[[torch.Tensor], torch.Tensor], suffix: str = "") -> Callable[[Tensors], Tensors]:
    """Quantize the projections, and give each a scale where there is a suffix for its name."""

    def quantize(tensors: Tensors) -> Tensors:
        names = [name for name in tensors if "_proj" in name]
        scales = {f"{name}{suffix}": torch.ones(1, 1) for name in names} if suffix else {}
        return tensors | {name: change(tensors[name]) for name in names} | scales

    return quantize


def _gptq(tensors: Tensors) -> Tensors:
    whole = {name: tensor for name, tensor in tensors.items() if "_proj" not in name}
    parts = {
        name.replace("weight", part): torch.zeros(8, 8, dtype=torch.int32)
        for name in tensors
        for part in ("qweight", "qzeros", "scales", "g_idx")
        if "_proj" in name
    }
    return whole | parts


def _shaped(**shapes: tuple[int, ...]) -> Callable[[Tensors], Tensors]:
    changed = {f"model.layers.0.{name.replace('__', '.')}": torch.ones(shape) for name, shape in shapes.items()}
    return lambda tensors: tensors | changed


_FP8 = torch.float8_e4m3fn
_LAYERS = "model.layers.0…1."
_YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
_OWN_CODE = {"AutoConfig": "own.LlamaConfig", "AutoModelForCausalLM": "own.LlamaForCausalLM"}

# Family, what is done to the tensors, what the config says otherwise, what the error says.
REFUSED: dict[str, tuple[str, Callable[[Tensors], Tensors] | None, dict[str, Any], str]] = {
    "a tensor missing": ("Llama 2", _without(f"{ATTENTION}q_proj.weight"), {}, f"Missing: {ATTENTION}q_proj.weight"),
    "no norm": ("Llama 2", _without("model.norm.weight"), {}, "Missing: model.norm.weight"),
    "no embedding": (
        "Qwen2.5 (QKV bias, tied)",
        _without("model.embed_tokens.weight"),
        {},
        "model.embed_tokens.weight",
    ),
    "no output layer": ("Llama 2", _without("lm_head.weight"), {}, "Missing: lm_head.weight.*tie_word_embeddings"),
    "an expert missing": (
        "Qwen3-MoE (experts, qk-norm)",
        _without("model.layers.1.mlp.experts.3.up_proj.weight"),
        {},
        "Missing: model.layers.1.mlp.experts.3.up_proj.weight",
    ),
    "a bias missing": (
        "Qwen2 (QKV bias)",
        _without(f"{ATTENTION}k_proj.bias"),
        {},
        f"Missing: {ATTENTION}k_proj.bias",
    ),
    "more layers in the config": (
        "Llama 2",
        None,
        {"num_hidden_layers": 4},
        r"model.layers.2…3.mlp.down_proj.weight \(2\).*says 4 layers and the files hold 2",
    ),
    "fewer layers in the config": ("Llama 2", None, {"num_hidden_layers": 1}, "Not used: .*says 1 layers"),
    "no prefix": ("Llama 2", _renamed("model.", ""), {}, "another prefix: .* for model"),
    "another prefix": ("Llama 2", _renamed("", "x."), {}, "another prefix: x.lm_head.weight for lm_head.weight"),
    "q_norm in a Llama": (
        "Llama 2",
        _with(self_attn__q_norm__weight=(16,)),
        {},
        rf"Not used: {_LAYERS}self_attn.q_norm.weight \(2\)",
    ),
    "a bias that the config does not name": (
        "Llama 2",
        _with(self_attn__q_proj__bias=(64,)),
        {},
        rf"Not used: {_LAYERS}self_attn.q_proj.bias \(2\)",
    ),
    "an adapter": ("Llama 2", _with(self_attn__q_proj__lora_A__weight=(4, 64)), {}, "an adapter's: merge it"),
    "GPTQ": ("Llama 2", _gptq, {"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"quantized \(gptq\)"),
    "compressed-tensors": (
        "Qwen3 (qk-norm)",
        _projections(lambda tensor: tensor.to(_FP8), "_scale"),
        {"quantization_config": {"quant_method": "compressed-tensors"}},
        r"quantized \(compressed-tensors\)",
    ),
    "FP8 in blocks": (
        "Qwen3 (qk-norm)",
        _projections(lambda tensor: tensor.to(_FP8), "_scale_inv"),
        {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
        r"quantized \(fp8\)",
    ),
    "FP8 that nobody names": ("Llama 2", _projections(lambda tensor: tensor.to(_FP8)), {}, "Quantized in a way"),
    "int8 that nobody names": (
        "Llama 2",
        _projections(lambda tensor: tensor.to(torch.int8)),
        {},
        "Quantized in a way",
    ),
    "another hidden size": ("Llama 2", None, {"hidden_size": 128, "head_dim": 16}, "is 64, not 128"),
    "another MLP": ("Llama 2", None, {"intermediate_size": 100}, "is 96 by 64, not 100 by 64"),
    "other groups": ("Llama 2", None, {"num_key_value_heads": 2}, "k_proj.weight.* is 64 by 64, not 32 by 64"),
    "other experts": ("Qwen3-MoE (experts, qk-norm)", None, {"num_local_experts": 8, "num_experts": 8}, "experts.4…7"),
    "a larger vocabulary": ("Llama 2", None, {"vocab_size": 512}, "is 500 by 64, not 512 by 64"),
    "gate and up of sizes that add up": (
        "Llama 2",
        _shaped(mlp__gate_proj__weight=(90, 64), mlp__up_proj__weight=(102, 64)),
        {},
        "gate_proj.weight is 90 by 64, not 96 by 64; .*up_proj.weight is 102 by 64",
    ),
    "a transposed projection": (
        "Llama 2",
        _shaped(mlp__down_proj__weight=(96, 64)),
        {},
        "down_proj.weight is 96 by 64, not 64 by 96",
    ),
    "a norm that is one number": (
        "Llama 2",
        lambda tensors: tensors | {"model.norm.weight": torch.tensor(1.0)},
        {},
        "model.norm.weight is a single number, not 64",
    ),
    "a complex norm": (
        "Llama 2",
        lambda tensors: tensors | {"model.norm.weight": torch.ones(64, dtype=torch.complex64)},
        {},
        r"Of a type that no weight has \(C64\): model.norm.weight.$",
    ),
    "a number that is a string": (
        "Llama 2",
        None,
        {"rms_norm_eps": "1e-6"},
        "config.json is no config .*rms_norm_eps",
    ),
    "no layers": ("Llama 2", None, {"num_hidden_layers": 0}, "builds no model of the config"),
    "two rope types": (
        "Llama 2",
        None,
        {"rope_parameters": {"type": "yarn", "rope_type": "default", "rope_theta": 10000.0, "factor": 4.0}},
        "says type 'yarn' and rope_type 'default'",
    ),
    "another model type": ("Llama 2", None, {"model_type": "mistral"}, "whose architecture is MistralForCausalLM"),
    "not causal": ("Llama 2", None, {"is_causal": False}, "is_causal is False"),
    "perhaps causal": ("Llama 2", None, {"is_causal": None}, "is_causal is None"),
    "layer types that make it another family's": (
        "Mistral (sliding window)",
        None,
        {"layer_types": ["full_attention", "sliding_attention"]},
        "reads the model_type 'ministral' from it, whose architecture is MinistralForCausalLM, not Mistral",
    ),
    "a truth for a number": (
        "Llama 3.1 (rope scaling)",
        None,
        {"rope_parameters": _LLAMA3 | {"factor": True}},
        "rope_parameters.factor is True",
    ),
    "no probability": ("Llama 2", None, {"attention_dropout": float("nan")}, "attention_dropout is nan"),
    "yarn of the base 1": (
        "Llama 2",
        None,
        {"rope_parameters": _YARN | {"rope_theta": 1}},
        "rope_parameters.rope_theta is 1",
    ),
    "yarn with a truth for a number": (
        "Llama 2",
        None,
        {"rope_parameters": _YARN | {"beta_fast": True}},
        "rope_parameters.beta_fast is True",
    ),
    "a field that Bridge alone reads": (
        "Qwen3-MoE (experts, qk-norm)",
        None,
        {"routed_scaling_factor": 2.5},
        "routed_scaling_factor is 2.5, which Megatron-Bridge reads",
    ),
    "a negative base": (
        "Llama 2",
        None,
        {"rope_parameters": {"rope_type": "default", "rope_theta": -10000.0}},
        "rope_theta is -10000.0",
    ),
    "more experts for a token than there are": (
        "Qwen3-MoE (experts, qk-norm)",
        None,
        {"num_experts_per_tok": 5},
        "num_experts_per_tok is 5",
    ),
    "a tied model without its embedding": (
        "Llama 2",
        _without("model.embed_tokens.weight"),
        {"tie_word_embeddings": True},
        "Missing: model.embed_tokens.weight",
    ),
    "a tied head that differs": ("Llama 2", None, {"tie_word_embeddings": True}, "lm_head.weight differs from"),
    "float64 in the config": ("Llama 2", None, {"dtype": "float64"}, "dtype torch.float64"),
    "a tied head in float32 that differs": (
        "Qwen2.5 (QKV bias, tied)",
        lambda tensors: tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].float() * (1 + 2**-20)},
        {},
        "lm_head.weight differs from",
    ),
    "a tied pair that is one number each": (
        "Qwen2.5 (QKV bias, tied)",
        lambda tensors: (
            tensors | {name: torch.tensor(1.0) for name in ("lm_head.weight", "model.embed_tokens.weight")}
        ),
        {},
        "embed_tokens.weight is a single number, not 500 by 64",
    ),
    "a name of two lines": ("Llama 2", lambda tensors: tensors | {"a\nb": torch.ones(1)}, {}, r"Not used: 'a\\nb'\. "),
    "no name": ("Llama 2", lambda tensors: tensors | {"": torch.ones(1)}, {}, r"Not used: ''\. "),
    "silu by another name": (
        "Llama 2",
        None,
        {"hidden_act": "swish"},
        "hidden_act is 'swish'.*They are one: write silu",
    ),
    "yarn without a factor": (
        "Llama 2",
        None,
        {"rope_parameters": _YARN | {"factor": None}},
        "factor is None.*For none, transformers takes 32.0: write that number",
    ),
    "another attention factor": (
        "Llama 2",
        None,
        {"rope_parameters": _YARN | {"attention_factor": 1.1386}},
        "attention_factor is 1.1386",
    ),
    "a text_config that is none": (
        "Llama 2",
        None,
        {"text_config": {}},
        "has a text_config, or a part like it, and llama has none",
    ),
    "an odd head": (
        "Llama 2",
        lambda tensors: {
            name: torch.ones(60, 64)
            if name.split(".")[-2] in ("q_proj", "k_proj", "v_proj")
            # The output projection is as wide as the heads are.
            else torch.ones(64, 60)
            if "o_proj" in name
            else tensor
            for name, tensor in tensors.items()
        },
        {"head_dim": 15},
        "asks for heads of 15 numbers, which rotary embedding takes in pairs",
    ),
    "padding beyond the vocabulary": (
        "Llama 2",
        None,
        {"pad_token_id": 500},
        "has the pad_token_id 500, and the embedding has 500 rows",
    ),
    "a quantization of plain weights": (
        "Llama 2",
        None,
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        r"has a quantization_config \(gptq\), .* the files hold none. Take it out of config.json",
    ),
    "a quantization without a method": (
        "Llama 2",
        None,
        {"quantization_config": {"bits": 4}},
        r"has a quantization_config \(an unnamed method\)",
    ),
    "a type that no release has": ("Llama 2", None, {"dtype": "int4"}, "dtype torch.int4"),
}


def _spoil(hf: Path, folder: Path, tensors: Callable[[Tensors], Tensors] | None, config: dict[str, Any]) -> Path:
    copy = Path(shutil.copytree(hf, folder / "hf"))
    if tensors is not None:
        save_file(tensors(load_file(copy / "model.safetensors")), copy / "model.safetensors", {"format": "pt"})
    values = json.loads((copy / "config.json").read_text()) | config
    (copy / "config.json").write_text(json.dumps({key: value for key, value in values.items() if value != ""}))
    return copy


def _refuses(hf: Path, root: Path, match: str, **keywords: Any) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(MegatronModelBridge, "load_weights_hf_to_megatron", None)  # Nothing is read.
        with pytest.raises(ValueError, match=match) as error:
            AutoBridge.import_ckpt(hf, root, release=True, **keywords)
    assert "\n" not in str(error.value)
    assert not root.exists()


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_is_not_what_its_config_says_is_refused(families, tmp_path, name):
    family, tensors, config, match = REFUSED[name]
    _refuses(_spoil(families(family), tmp_path, tensors, config), tmp_path / "root", match)


def _truncate(hf: Path) -> None:
    with open(hf / "model.safetensors", "r+b") as file:
        file.truncate((hf / "model.safetensors").stat().st_size - 100)


def _lengthen(hf: Path) -> None:
    with open(hf / "model.safetensors", "ab") as file:
        file.write(b"\0" * 100)


def _pointer(hf: Path) -> None:
    (hf / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def _huge_header(hf: Path) -> None:
    (hf / "model.safetensors").write_bytes(struct.pack("<Q", 10**12) + b"{}")


def _two_files(hf: Path, names: tuple[str, str] = ("a", "b")) -> dict[str, str]:
    tensors = load_file(hf / "model.safetensors")
    (hf / "model.safetensors").unlink()
    half = len(tensors) // 2
    files = {name: f"model-{names[i >= half]}.safetensors" for i, name in enumerate(tensors)}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in tensors if files[name] == file}, hf / file)
    (hf / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return files


def _missing_shard(hf: Path) -> None:
    _two_files(hf)
    (hf / "model-b.safetensors").unlink()


def _index_of_more(hf: Path) -> None:
    files = _two_files(hf)
    (hf / INDEX).write_text(json.dumps({"weight_map": files | {"model.layers.9.x": "model-a.safetensors"}}))


def _stale_tensor(hf: Path) -> None:
    _two_files(hf)
    stale = load_file(hf / "model-a.safetensors")
    name = next(iter(stale))
    save_file(load_file(hf / "model-b.safetensors") | {name: stale[name] + 1}, hf / "model-b.safetensors")


def _fifo(hf: Path) -> None:
    (hf / "model.safetensors").unlink()
    os.mkfifo(hf / "model.safetensors")


def _no_index(hf: Path) -> None:
    _two_files(hf, ("00001-of-00002", "00002-of-00002"))
    (hf / INDEX).unlink()


def _another_name(hf: Path) -> None:
    (hf / "model.safetensors").rename(hf / "weights.safetensors")


def _broken_index(hf: Path) -> None:
    _no_index(hf)
    (hf / INDEX).symlink_to("gone")


def _index_that_is_a_folder(hf: Path) -> None:
    _no_index(hf)
    (hf / INDEX).mkdir()


def _torn_index(hf: Path) -> None:
    _two_files(hf)
    (hf / INDEX).write_text('{"weight_map": {')


def _two_models(hf: Path) -> None:
    shutil.copyfile(hf / "model.safetensors", hf / "kept")
    _two_files(hf)
    (hf / "kept").rename(hf / "model.safetensors")


def _pickled(hf: Path) -> None:
    torch.save(load_file(hf / "model.safetensors"), hf / "pytorch_model.bin")
    (hf / "model.safetensors").unlink()


def _no_tokenizer(hf: Path) -> None:
    for file in hf.glob("tokenizer*"):
        file.unlink()


def _larger_tokenizer(hf: Path) -> None:
    values = json.loads((hf / "tokenizer.json").read_text())
    values["model"]["vocab"]["more"] = 500
    (hf / "tokenizer.json").write_text(json.dumps(values))


def _token_without_end(hf: Path) -> None:
    values = json.loads((hf / "tokenizer.json").read_text())
    values["model"]["vocab"]["more"] = 2**32
    (hf / "tokenizer.json").write_text(json.dumps(values))


FOLDERS: dict[Callable[[Path], Any], str] = {
    _truncate: "model.safetensors is no whole safetensors file",
    _lengthen: "model.safetensors is no whole safetensors file",
    _pointer: "model.safetensors is a Git LFS pointer.*git lfs pull",
    _huge_header: "model.safetensors is no whole safetensors file",
    _missing_shard: "names model-b.safetensors, which is no file there: .* tensors are missing",
    _index_of_more: "names 1 tensors that its files do not hold: model.layers.9.x",
    _stale_tensor: "model-b.safetensors holds the tensor .*, which .* does not give it",
    _fifo: "model.safetensors is no file",
    _no_index: "has model-00001-of-00002.safetensors, .* and no model.safetensors.index.json says",
    _another_name: "has neither model.safetensors nor .* rename it to model.safetensors",
    _broken_index: "index.json is no file, or a link to none",
    _index_that_is_a_folder: "index.json is no file, or a link to none",
    _torn_index: "index.json is damaged",
    _two_models: "holds two models",
    _pickled: "no safetensors files, but pytorch_model.bin",
    _no_tokenizer: "has no tokenizer",
    _larger_tokenizer: "goes up to the ID 500, and the embedding has 500 rows",
    _token_without_end: "goes up to the ID 4294967296, and the embedding has 500 rows",
}


@pytest.mark.parametrize("spoil", FOLDERS, ids=lambda spoil: spoil.__name__.strip("_"))
def test_a_folder_that_is_not_whole_is_refused(families, tmp_path, spoil):
    hf = _spoil(families("Llama 2"), tmp_path, None, {})
    spoil(hf)
    _refuses(hf, tmp_path / "root", FOLDERS[spoil])


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
        {"rope_parameters": _YARN | {"attention_factor": 0.1 * math.log(4.0) + 1}},
        {},
    ),
    "the dtype that is there": ("Llama 2", None, {}, {"torch_dtype": "auto"}),
    "the weights' dtype": ("Llama 2", None, {"dtype": ""}, {"dtype": "auto"}),
    "a quantization that nobody knows": ("Llama 2", None, {"quantization_config": {"quant_method": "new"}}, {}),
}


@pytest.mark.parametrize("name", CARRIED)
def test_what_is_odd_and_harmless_is_carried(families, tmp_path, name):
    family, change, config, keywords = CARRIED[name]
    hf = _spoil(families(family), tmp_path, None, config)
    if change is not None:
        change(hf)
    AutoBridge.import_ckpt(hf, tmp_path / "root", release=True, **keywords)
    equal, problems = compare(tmp_path / "root/release", str(families(family)))
    assert problems == [] and equal == len(load_file(families(family) / "model.safetensors"))
    if "rope_parameters" in config:
        assert prove(tmp_path / "root", hf).agrees


def test_code_of_its_own_that_would_be_run_is_refused(families, tmp_path):
    hf = _spoil(families("Llama 2"), tmp_path, None, {"auto_map": _OWN_CODE})
    _refuses(
        hf,
        tmp_path / "root",
        "own.LlamaForCausalLM.* is none that Megatron-Bridge knows. Leave trust_remote_code out",
        trust_remote_code=True,
    )


@pytest.mark.parametrize("name", ["no-such-model", "no-such-organization/model", "a/b/c", "~/no such model", "-x"])
def test_a_name_that_is_no_model_is_one_attempt_and_one_line(tmp_path, name):
    _refuses(name, tmp_path / "root", "does not exist|the Hugging Face Hub does not give it")


def test_an_unused_tensor_can_be_let_go_by_its_name_and_a_missing_one_cannot(families, tmp_path):
    hf = _spoil(families("Llama 2"), tmp_path, _with(self_attn__q_norm__weight=(16,)), {})
    _refuses(hf, tmp_path / "root", "Not used", allow_unused_tensors=["*.k_norm.weight"])
    said = re.escape(f"Tensors of {hf} were left out: model.layers.0…1.self_attn.q_norm.weight (2).")
    with pytest.warns(UserWarning, match=said):
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True, allow_unused_tensors=["*.q_norm.weight"])
    equal, problems = compare(tmp_path / "root/release", str(families("Llama 2")))
    assert problems == [] and equal == len(load_file(families("Llama 2") / "model.safetensors"))
    assert any(note.startswith("Let through when it was made: Tensors of ") for note in check(tmp_path / "root").notes)
    less = _spoil(families("Llama 2"), tmp_path / "less", _without("lm_head.weight"), {})
    _refuses(less, tmp_path / "other", "Missing", allow_unused_tensors=["*"])


@pytest.mark.parametrize(
    "keyword", [{"rms_norm_eps": 0.5}, {"num_hidden_layers": 1}, {"subfolder": "x"}, {"gguf_file": "x.gguf"}], ids=str
)
def test_a_keyword_that_would_make_it_another_model_is_refused(families, tmp_path, keyword):
    (name,) = keyword
    _refuses(families("Llama 2"), tmp_path / "root", f"release=True takes no {name}", **keyword)


@pytest.mark.parametrize("keyword", ["allow_unused_tensors", "allow_config_fields"])
def test_a_name_alone_is_no_list_of_names(families, tmp_path, keyword):
    hf = _spoil(families("Llama 2"), tmp_path, None, {})
    _refuses(hf, tmp_path / "root", f"{keyword} takes a list of names", **{keyword: "*.bias"})
    _refuses(hf, tmp_path / "root", f"{keyword} takes a list of names", **{keyword: None})


def test_a_field_that_the_config_has_not_is_no_field_to_allow(families, tmp_path):
    hf = _spoil(families("Llama 2"), tmp_path, None, {})
    _refuses(hf, tmp_path / "root", "allow_config_fields names rope, which", allow_config_fields=["rope"])


def test_what_transformers_ignores_is_no_tensor_of_the_model(families, tmp_path):
    def more(tensors: Tensors) -> Tensors:
        head = {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}
        return tensors | head | {f"{ATTENTION}rotary_emb.inv_freq": torch.ones(8)}

    hf = _spoil(families("Qwen2.5 (QKV bias, tied)"), tmp_path, more, {})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Left out")
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert prove(tmp_path / "root", hf).agrees


def test_a_field_that_nobody_knows_is_named(families, tmp_path):
    hf = _spoil(families("Llama 2"), tmp_path, None, {"logit_softcap": 30.0})
    with pytest.warns(UserWarning, match=r"perhaps not carried.*: logit_softcap \(30.0\)"):
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)


DTYPES: dict[str, tuple[Callable[[Tensors], Tensors] | None, dict[str, Any], torch.dtype, str | None]] = {
    "the weights' own": (None, {"dtype": ""}, torch.bfloat16, None),
    "most of the weights'": (
        lambda tensors: {name: t.float() if "norm" in name else t for name, t in tensors.items()},
        {"dtype": ""},
        torch.bfloat16,
        "5 of 21 tensors are float32: they are rounded to bfloat16",
    ),
    "the config's": (
        lambda tensors: {name: t.float() for name, t in tensors.items()},
        {},
        torch.bfloat16,
        "21 of 21 tensors are float32: they are rounded to bfloat16",
    ),
    "float16 to bfloat16": (
        lambda tensors: {name: t.half() for name, t in tensors.items()},
        {},
        torch.bfloat16,
        "21 of 21 tensors are float16: they are rounded to bfloat16",
    ),
    "float64": (
        lambda tensors: {name: t.double() for name, t in tensors.items()},
        {"dtype": ""},
        torch.float32,
        "21 of 21 tensors are float64: they are rounded to float32",
    ),
    "wider": (None, {"dtype": "float32"}, torch.float32, None),
}


@pytest.mark.parametrize("name", DTYPES)
def test_a_release_has_the_dtype_that_the_config_or_the_weights_say(families, tmp_path, name):
    tensors, config, dtype, said = DTYPES[name]
    hf = _spoil(families("Llama 2"), tmp_path, tensors, config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    texts = {str(warning.message) for warning in caught if "rounded" in str(warning.message)}
    assert texts == ({f"{said}, as the config says."} if said else set())
    assert torch.load(tmp_path / "root/release/common.pt", weights_only=True)["args"].params_dtype is dtype
    equal, problems = compare(tmp_path / "root/release", str(hf))
    assert problems == [] and equal == 21


def test_weights_that_float16_cannot_hold_are_refused(families, tmp_path):
    def large(tensors: Tensors) -> Tensors:
        tensors["model.norm.weight"][3] = 1e6
        return tensors

    hf = _spoil(families("Llama 2"), tmp_path, large, {"dtype": "float16"})
    with pytest.raises(ValueError, match="decoder.final_layernorm.weight has values that float16 cannot hold"):
        AutoBridge.import_ckpt(hf, tmp_path / "root", release=True)
    assert not (tmp_path / "root").exists()


def test_a_save_of_a_model_that_was_loaded_from_less_is_refused(families, tmp_path):
    hf = _spoil(families("Llama 2"), tmp_path, _with(self_attn__q_norm__weight=(16,)), {})
    bridge = AutoBridge.from_hf_pretrained(hf)
    with pytest.raises(ValueError, match="Not used"):
        bridge.save_megatron_model([], tmp_path / "root", hf_tokenizer_path=hf, release=True)
    assert not (tmp_path / "root").exists()


def _built(bridge: AutoBridge, **fields: Any) -> list:
    """Build a model by hand, as upstream's documentation does."""
    provider = bridge.to_megatron_provider(load_weights=isinstance(bridge.hf_pretrained, PreTrainedCausalLM))
    for name, value in fields.items():
        setattr(provider, name, value)
    provider.finalize()
    return provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)


_EXPERTS = "Qwen3-MoE (experts, qk-norm)"
OTHERS = {
    "another epsilon": ("Llama 2", {"layernorm_epsilon": 0.1}, "layernorm_epsilon is 0.1, not 1e-05"),
    "another base": ("Llama 2", {"rotary_base": 500000}, "rotary_base is 500000, not 10000"),
    "another activation": ("Llama 2", {"activation_func": torch.nn.functional.gelu}, "swiglu is False, not True"),
    "a softmax scale of its own": ("Llama 2", {"softmax_scale": 0.5}, "softmax_scale is set"),
    "jitter": (_EXPERTS, {"moe_input_jitter_eps": 0.5}, "moe_input_jitter_eps is 0.5, not None"),
    "another method of routing": (
        _EXPERTS,
        {"moe_router_load_balancing_type": "sinkhorn"},
        "moe_router_load_balancing_type is True, not False",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_model_built_by_hand_that_computes_something_else_is_refused(families, tmp_path, name):
    family, fields, told = OTHERS[name]
    hf = families(family)
    bridge = AutoBridge.from_hf_pretrained(hf)
    with temporary_distributed_context(backend="gloo"):
        model = _built(bridge, **fields)
        with pytest.raises(ValueError, match=re.escape(f"The model is not {hf}: ")) as refused:
            bridge.save_megatron_model(model, tmp_path / "root", hf_tokenizer_path=hf, release=True)
        assert told in str(refused.value) and "\n" not in str(refused.value)
        assert not (tmp_path / "root").exists()
        # A model of one's own is published as such.
        save_megatron_model(model, tmp_path / "root", hf_tokenizer_path=hf, release=True)
    assert not check(tmp_path / "root").problems


def test_a_model_built_by_hand_for_a_training_is_the_source_s(families, tmp_path):
    hf = families("Llama 2")
    bridge = AutoBridge.from_hf_pretrained(hf)
    with temporary_distributed_context(backend="gloo"):
        model = _built(bridge, seq_length=32, attention_dropout=0.1, hidden_dropout=0.1)
        bridge.save_megatron_model(model, tmp_path / "root", hf_tokenizer_path=hf, release=True)
    assert torch.load(tmp_path / "root/release/common.pt", weights_only=True)["args"].seq_length == 32
    equal, problems = compare(tmp_path / "root/release", str(hf))
    assert problems == [] and equal == 21


def test_a_model_with_values_that_are_no_numbers_is_refused(families, tmp_path):
    hf = families("Llama 2")
    bridge = AutoBridge.from_hf_pretrained(hf)
    with temporary_distributed_context(backend="gloo"):
        model = _built(bridge)
        with torch.no_grad():
            model[0].module.output_layer.weight[3, 5] = float("nan")
        with pytest.raises(ValueError, match="output_layer.weight has values that are no numbers"):
            bridge.save_megatron_model(model, tmp_path / "root", hf_tokenizer_path=hf, release=True)
    assert not (tmp_path / "root/release").exists()


def test_a_config_alone_is_accounted_for_too(families, tmp_path):
    config = AutoConfig.from_pretrained(families("Llama 2"))
    config.hidden_act = "gelu"
    bridge = AutoBridge.from_hf_config(config)
    with temporary_distributed_context(backend="gloo"):
        with pytest.raises(ValueError, match="hidden_act is 'gelu'"):
            bridge.save_megatron_model(_built(bridge), tmp_path / "root", release=True)
    assert not (tmp_path / "root").exists()


def test_upstreams_default_goes_on_and_lists_what_has_no_source(families, tmp_path):
    hf = _spoil(families("Llama 2"), tmp_path, _without("lm_head.weight", f"{ATTENTION}q_proj.weight"), {})
    with pytest.warns(
        UserWarning, match=r"loaded into decoder.layers.1.self_attention.linear_qkv.weight, output_layer"
    ):
        AutoBridge.import_ckpt(hf, tmp_path / "root")
    assert "iter_0000000/.metadata" in tree(tmp_path / "root")
