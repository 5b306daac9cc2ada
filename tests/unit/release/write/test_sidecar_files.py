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

"""The files of a release beside its weights."""

import json
from types import SimpleNamespace

import pytest
import torch
from args_models import gpt_model

from megatron.bridge.release.source.provenance import SourceModel
from megatron.bridge.release.write import sidecar_files
from megatron.bridge.release.write.errors import UnsupportedFieldsWarning
from megatron.bridge.release.write.sidecar_files import (
    ReleaseFiles,
    release_args,
    save_object,
    warn_unsupported_fields,
    write_release_files,
)


class _Config(SimpleNamespace):
    """A configuration, which writes what is recorded of it."""

    def to_yaml(self, filename: str) -> None:
        with open(filename, "w", encoding="utf-8") as file:
            json.dump(
                {"save": self.checkpoint.save, "tokenizer": vars(self.tokenizer) if self.tokenizer else None}, file
            )


def _tokenizer(model: str) -> SimpleNamespace:
    return SimpleNamespace(tokenizer_type="HuggingFaceTokenizer", tokenizer_model=model, hf_tokenizer_kwargs={})


@pytest.fixture
def files(tmp_path) -> ReleaseFiles:
    model = gpt_model()
    model.hf_model_id = "org/model"
    config = _Config(model=model, tokenizer=None, checkpoint=SimpleNamespace(save=str(tmp_path / "staging")))
    return ReleaseFiles(
        tmp_path / "root", config, release_args(model, None, tmp_path), None, ["A tensor was skipped."]
    )


@pytest.fixture
def staging(tmp_path):
    (tmp_path / "staging/release").mkdir(parents=True)
    (tmp_path / "staging/release/metadata.json").write_text("{}")
    return tmp_path / "staging"


def test_args_name_the_copy_of_a_local_tokenizer(tmp_path):
    args = release_args(gpt_model(), _tokenizer(str(tmp_path)), tmp_path / "root")
    assert (args.ckpt_format, args.tokenizer_type) == ("torch_dist", "HuggingFaceTokenizer")
    assert args.tokenizer_model == str(tmp_path / "root/release/tokenizer")


def test_args_name_the_tokenizer_of_the_hub_if_any(tmp_path):
    args = release_args(gpt_model(), _tokenizer("org/model"), tmp_path)
    assert args.tokenizer_model == "org/model"
    assert getattr(release_args(gpt_model(), None, tmp_path), "tokenizer_model", None) is None


def test_files_are_written_from_memory_and_the_manifest_last(files, staging, monkeypatch):
    written, write_manifest = [], sidecar_files.write_manifest
    monkeypatch.setattr(
        sidecar_files,
        "write_manifest",
        lambda folder, digests: (
            written.extend(path.name for path in folder.iterdir()),
            write_manifest(folder, digests),
        ),
    )
    write_release_files(files, staging, {"iteration": 0}, {})
    folder = staging / "release"
    names = ["common.pt", "megatron_lm_args.txt", "metadata.json", "run_config.yaml", "source.json", "train_state.pt"]
    assert sorted(written) == names
    assert torch.load(folder / "common.pt", weights_only=True) == {"iteration": 0}
    assert "--num-layers=" in (folder / "megatron_lm_args.txt").read_text()
    source = json.loads((folder / "source.json").read_text())
    assert source["model"] == "org/model" and source["waived"] == ["A tensor was skipped."]
    assert sorted(json.loads((folder / "integrity.json").read_text())["files"]) == names
    assert torch.load(staging / "latest_train_state.pt", weights_only=True)["step"] == 0


def test_run_config_names_published_directory_and_commit(files, staging, tmp_path, monkeypatch):
    monkeypatch.setattr(sidecar_files, "copy_tokenizer", lambda *_: None)
    monkeypatch.setattr(sidecar_files, "describe_model", lambda source: sidecar_files.SourceRecord(source.name))
    files.config.tokenizer = _tokenizer(str(tmp_path / "snapshot"))
    model = SourceModel("org/model", tmp_path / "snapshot", "v1", "c" * 40)
    write_release_files(ReleaseFiles(files.checkpoint_dir, files.config, files.args, model), staging, None, {})
    written = json.loads((staging / "release/run_config.yaml").read_text())
    assert written["save"] == str(tmp_path / "root")
    assert written["tokenizer"]["tokenizer_model"] == "org/model"
    assert written["tokenizer"]["hf_tokenizer_kwargs"] == {"revision": "c" * 40}
    assert files.config.tokenizer.tokenizer_model == str(tmp_path / "snapshot")
    assert not (staging / "release/common.pt").exists()


def test_object_store_release_contains_files_of_upstream(files, staging, monkeypatch):
    monkeypatch.setattr(sidecar_files.MultiStorageClientFeature, "is_enabled", lambda: True)
    monkeypatch.setattr(sidecar_files.maybe_msc, "open", open, raising=False)
    write_release_files(files, staging, {"iteration": 0}, {})
    names = sorted(path.name for path in (staging / "release").iterdir())
    assert names == ["metadata.json", "run_config.yaml", "train_state.pt"]


def test_save_object_raises_os_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        save_object({}, tmp_path / "gone/common.pt")


def test_unsupported_fields_are_a_warning(monkeypatch):
    warnings = []
    monkeypatch.setattr(sidecar_files, "warn", warnings.append)
    assert warn_unsupported_fields(gpt_model()) == "" and warnings == []
    assert "softmax_scale" in warn_unsupported_fields(gpt_model(softmax_scale=0.5))
    (warning,) = warnings
    assert isinstance(warning, UnsupportedFieldsWarning) and warning.fields == ("softmax_scale",)
