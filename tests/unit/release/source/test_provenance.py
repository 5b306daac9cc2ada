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


"""The record of a release's source model, and the models that it matches."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from megatron.bridge.release.errors import CorruptFileError, MissingReleaseError, ReleaseError
from megatron.bridge.release.source.config_file import differing_fields
from megatron.bridge.release.source.errors import CorruptWeightsError, GitLfsPointerError
from megatron.bridge.release.source.provenance import (
    SourceRecord,
    describe_model,
    read_source,
    require_source,
    source_from_run_config,
    write_source,
)
from megatron.bridge.release.source.provenance_errors import (
    SourceChangedError,
    SourceMismatchError,
    UnknownSourceError,
)
from megatron.bridge.release.source.safetensors_index import digest_tensors


CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "transformers_version": "5.0",
    "_name_or_path": "a",
}


def _model(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(40, 50, generator=generator) for name in ("a", "b", "c")}
    tensors["small"] = torch.randn(3, generator=generator)
    tensors["empty"] = torch.empty(0)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


@pytest.fixture
def hf(tmp_path) -> Path:
    return _model(tmp_path / "hf")


def _release(root: Path, source: SourceRecord | None) -> Path:
    (root / "release").mkdir(parents=True)
    if source is not None:
        write_source(source, root / "release")
    return root


def _refusal(root: Path, hf_model: Path | str) -> ReleaseError:
    with pytest.raises(ReleaseError) as error:
        require_source(root, hf_model)
    assert error.value.root == root
    return error.value


def _changed(root: Path, hf_model: Path) -> tuple[str, ...]:
    """Return the differences of a model that has changed since the import."""
    error = _refusal(root, hf_model)
    assert type(error) is SourceChangedError and error.model == str(hf_model)
    return error.differences


def _mismatch(root: Path, hf_model: Path | str) -> tuple[str, str, tuple[str, ...]]:
    """Return the source model, the model that was passed instead, and the differences."""
    error = _refusal(root, hf_model)
    assert type(error) is SourceMismatchError
    return error.recorded, error.model, error.differences


def test_source_record_is_read_as_written(hf, tmp_path):
    source = replace(describe_model(hf), waived=("A tensor was left out.",))
    assert source.model == str(hf) and len(source.config_sha256) == len(source.tensors_sha256) == 64
    root = _release(tmp_path / "root", source)
    assert read_source(root / "release") == source
    assert json.loads((root / "release/source.json").read_text()).keys() == {
        *("model", "config_sha256", "megatron_bridge", "waived", "config", "tensors_sha256"),
        *("revision", "commit"),
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("waived", value) for value in ("a text", [1], None, {"a": "b"})),
        *((name, 1) for name in ("model", "config_sha256", "tensors_sha256", "revision", "commit", "megatron_bridge")),
        *(("config", value) for value in ([], "{}")),
        *((name, None) for name in ("model", "megatron_bridge")),
    ],
)
def test_record_is_corrupt_if_a_field_has_the_wrong_type(hf, tmp_path, field, value):
    root = _release(tmp_path / "root", describe_model(hf))
    (root / "release/source.json").write_text(json.dumps(vars(describe_model(hf)) | {field: value}))
    with pytest.raises(CorruptFileError) as raised:
        read_source(root / "release")
    assert (raised.value.file, raised.value.reason) == ("source.json", f"{field} has the wrong type")


@pytest.mark.parametrize("change", [lambda record: record.pop("commit"), lambda record: record.update(other=1)])
def test_source_record_with_wrong_fields_is_corrupt(hf, tmp_path, change):
    root, record = _release(tmp_path / "root", describe_model(hf)), dict(vars(describe_model(hf)))
    change(record)
    (root / "release/source.json").write_text(json.dumps(record))
    with pytest.raises(CorruptFileError) as raised:
        read_source(root / "release")
    assert raised.value.reason == "missing or unknown fields"


def test_source_model_matches_for_any_spelling_of_path(hf, tmp_path, monkeypatch):
    root = _release(tmp_path / "root", describe_model(hf))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (hf, str(hf), "hf", "./hf", "../" + tmp_path.name + "/hf", "~/hf", f"{hf}/"):
        require_source(root, name)


def test_moved_model_matches_and_missing_model_compares_paths(hf, tmp_path):
    root = _release(tmp_path / "root", describe_model(hf))
    hf.rename(tmp_path / "moved")
    require_source(root, tmp_path / "moved")
    require_source(root, hf)
    assert _mismatch(root, tmp_path / "gone") == (str(hf), str(tmp_path / "gone"), ())


def test_rewritten_config_matches_source_model(hf, tmp_path):
    root = _release(tmp_path / "root", describe_model(hf))
    changed = dict(reversed(CONFIG.items())) | {"transformers_version": "5.1", "_name_or_path": "b"}
    (hf / "config.json").write_text(json.dumps(changed, indent=4))
    require_source(root, hf)


def test_different_model_is_refused_with_both_names(hf, tmp_path):
    root = _release(tmp_path / "root", describe_model(hf))
    other = _model(tmp_path / "other", seed=1)
    assert _mismatch(root, other) == (str(hf), str(other), ("weights",))
    assert _mismatch(root, "meta-llama/Llama-3.2-1B") == (str(hf), "meta-llama/Llama-3.2-1B", ())
    root = _release(tmp_path / "hub", SourceRecord("meta-llama/Llama-3.2-1B"))
    require_source(root, "meta-llama/Llama-3.2-1B")
    assert _mismatch(root, "meta-llama/Llama-3.2-3B")[:2] == ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B")
    assert _mismatch(root, hf) == ("meta-llama/Llama-3.2-1B", str(hf), ())


@pytest.mark.parametrize("name", ["a", "b", "c", "small"])
@pytest.mark.parametrize("at", [0, -1])
def test_changed_first_or_last_value_is_detected(hf, tmp_path, name, at):
    root = _release(tmp_path / "root", describe_model(hf))
    tensors = load_file(hf / "model.safetensors")
    tensors[name].view(-1)[at] += 1
    save_file(tensors, hf / "model.safetensors")
    assert _changed(root, hf) == ("weights",)


def _another_value(hf: Path) -> None:
    (hf / "config.json").write_text(json.dumps(CONFIG | {"rope_theta": 1}))


def _another_name(hf: Path) -> None:
    tensors = load_file(hf / "model.safetensors")
    save_file({f"x.{name}": tensor for name, tensor in tensors.items()}, hf / "model.safetensors")


def _another_shape(hf: Path) -> None:
    tensors = load_file(hf / "model.safetensors")
    save_file(tensors | {"a": tensors["a"].reshape(50, 40)}, hf / "model.safetensors")


def _a_file_more(hf: Path) -> None:
    save_file({"d": torch.zeros(2)}, hf / "more.safetensors")


@pytest.mark.parametrize("change", [_another_value, _another_name, _another_shape])
def test_changed_model_at_same_path_is_refused(hf, tmp_path, change):
    root = _release(tmp_path / "root", describe_model(hf))
    change(hf)
    assert _changed(root, hf) == ("config fields: rope_theta" if change is _another_value else "weights",)


def test_files_beside_the_whole_model_do_not_count(hf, tmp_path):
    root = _release(tmp_path / "root", describe_model(hf))
    _a_file_more(hf)
    require_source(root, hf)


def test_files_that_the_index_does_not_name_do_not_count(hf, tmp_path):
    (hf / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    root = _release(tmp_path / "root", describe_model(hf))
    _a_file_more(hf)
    require_source(root, hf)


@pytest.mark.parametrize("damage", [b"", b"\x00" * 7, b"version https://git-lfs", b"\x02" + b"\x00" * 7 + b"[]"])
def test_corrupt_weights_error_shows_file(hf, tmp_path, damage):
    root = _release(tmp_path / "root", describe_model(hf))
    (hf / "model.safetensors").write_bytes(damage)
    with pytest.raises((CorruptWeightsError, GitLfsPointerError)) as raised:
        require_source(root, hf)
    assert raised.value.path == hf / "model.safetensors"


def test_release_without_source_record_is_refused(hf, tmp_path):
    root = _release(tmp_path / "root", None)
    error = _refusal(root, hf)
    assert (type(error), error.model, error.problem) == (UnknownSourceError, str(hf), None)
    error = _refusal(tmp_path / "nothing", hf)
    assert (type(error), error.role) == (MissingReleaseError, "other")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 99999,
    ],
)
def test_corrupt_source_record_raises_error_with_file_name(hf, tmp_path, text):
    root = _release(tmp_path / "root", None)
    (root / "release/source.json").write_text(text)
    with pytest.raises(CorruptFileError) as raised:
        read_source(root / "release")
    assert raised.value.file == "source.json"
    error = _refusal(root, hf)
    assert (type(error), error.problem) == (UnknownSourceError, str(raised.value))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model:\n  hf_model_id: org/name\n", "org/name"),
        ("model:\n  extra_checkpoint_metadata: {hf_model_id: org/name}\n", "org/name"),
        ("model:\n  hf_model_id: org/name\n  extra_checkpoint_metadata: {hf_model_id: other}\n", "org/name"),
        ("model:\n  extra_checkpoint_metadata: null\n", None),
        ("model:\n  extra_checkpoint_metadata: [hf_model_id]\n", None),
        ("model: []\n", None),
        ("model: {}\n", None),
        ("model:\n  hf_model_id: 5\n", None),
        ("[", None),
        (None, None),
    ],
)
def test_source_from_run_config_contains_only_model_name(tmp_path, text, expected):
    if text is not None:
        (tmp_path / "run_config.yaml").write_text(text)
    found = source_from_run_config(tmp_path)
    assert (found and (found.model, found.config_sha256, found.tensors_sha256)) == (
        expected and (expected, None, None)
    )


def test_require_source_imports_no_torch(hf, tmp_path):
    root = _release(tmp_path / "root", describe_model(hf))
    code = (
        "import sys\n"
        "from megatron.bridge.release.source.provenance import require_source\n"
        "require_source(*sys.argv[1:])\n"
        "print(sorted(sys.modules.keys() & {'torch', 'transformers', 'megatron.core', 'megatron.bridge.models'}))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, root, hf], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_copied_model_matches_source_model(hf, tmp_path):
    require_source(_release(tmp_path / "root", describe_model(hf)), shutil.copytree(hf, tmp_path / "copy"))


@pytest.mark.parametrize("name", ["a folder", "org/a folder", "-", "org/name"])
def test_record_of_model_without_files_contains_no_digest(name):
    assert describe_model(name) == SourceRecord(name, megatron_bridge=describe_model(name).megatron_bridge)


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "num_attention_heads": 4,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": None,
    "torch_dtype": "bfloat16",
    "eos_token_id": 2,
    "use_cache": True,
}
SCALING = {"rope_type": "linear", "factor": 2.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"use_cache": False},
        {"eos_token_id": [2, 7], "bos_token_id": 5, "pad_token_id": 0},
        {
            "rope_theta": None,
            "rope_scaling": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        },
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}},
        {"torch_dtype": None, "dtype": "bfloat16"},
        {"dtype": "bfloat16"},
        {"attention_bias": False, "tie_word_embeddings": False, "hidden_act": "silu"},
        {"transformers_version": "4.1", "_name_or_path": "x", "initializer_range": 0.1},
        {"num_key_value_heads": 4, "head_dim": 16},
    ],
    ids=str,
)
def test_equivalent_config_matches_source_model(hf, tmp_path, changes):
    (hf / "config.json").write_text(json.dumps(LLAMA))
    root = _release(tmp_path / "root", describe_model(hf))
    changed = {name: value for name, value in (LLAMA | changes).items() if value is not None}
    (hf / "config.json").write_text(json.dumps(changed))
    require_source(root, hf)
    hf.rename(tmp_path / "moved")
    require_source(root, tmp_path / "moved")


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"rope_theta": 10000.0}, ["rope_parameters"]),
        ({"rope_scaling": SCALING}, ["rope_parameters"]),
        ({"rms_norm_eps": 1e-6}, ["rms_norm_eps"]),
        ({"torch_dtype": "float16"}, ["dtype"]),
        ({"num_key_value_heads": 2}, ["num_key_value_heads"]),
        ({"tie_word_embeddings": True}, ["tie_word_embeddings"]),
        ({"architectures": ["MistralForCausalLM"]}, ["architectures"]),
        ({"quantization_config": {"quant_method": "fp8"}}, ["quantization_config"]),
        ({"something_new": 3}, ["something_new"]),
        ({"auto_map": {"AutoConfig": "a.B"}}, None),
    ],
    ids=str,
)
def test_changed_config_field_is_refused(hf, tmp_path, changes, fields):
    (hf / "config.json").write_text(json.dumps(LLAMA))
    root = _release(tmp_path / "root", describe_model(hf))
    (hf / "config.json").write_text(json.dumps(LLAMA | changes))
    (difference,) = _changed(root, hf)
    assert difference.startswith("config fields: ")
    assert fields is None or difference == f"config fields: {', '.join(fields)}"


def test_forms_of_rope_scaling_are_the_same():
    plain = {name: value for name, value in LLAMA.items() if not name.startswith("rope")}
    older = plain | {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}
    newer = plain | {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}}
    both = older | newer
    assert differing_fields(older, newer) == differing_fields(older, both) == differing_fields(newer, both) == []
    other = plain | {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}}
    assert differing_fields(older, other) == ["rope_parameters"]


def test_resharded_model_matches_source_model(hf, tmp_path):
    root, digest = _release(tmp_path / "root", describe_model(hf)), digest_tensors(hf)
    tensors = load_file(hf / "model.safetensors")
    (hf / "model.safetensors").unlink()
    parts = {"one.safetensors": ["small", "c"], "two.safetensors": ["b", "empty", "a"]}
    for file, names in parts.items():
        save_file({name: tensors[name] for name in names}, hf / file, metadata={"format": "pt"})
    weight_map = {name: file for file, names in parts.items() for name in names}
    (hf / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert digest_tensors(hf) == digest
    for name in ("README.md", "generation_config.json"):
        (hf / name).write_text("{}")
    require_source(root, hf)


@pytest.mark.parametrize("one, other", [("a", "b"), ("a", "c")])
def test_swapped_tensor_names_change_digest(hf, one, other):
    digest, tensors = digest_tensors(hf), load_file(hf / "model.safetensors")
    save_file(tensors | {one: tensors[other], other: tensors[one]}, hf / "model.safetensors")
    assert digest_tensors(hf) != digest


def test_changed_dtype_with_same_bits_changes_digest(hf):
    digest, tensors = digest_tensors(hf), load_file(hf / "model.safetensors")
    save_file(tensors | {"a": tensors["a"].view(torch.int32)}, hf / "model.safetensors")
    assert digest_tensors(hf) != digest
