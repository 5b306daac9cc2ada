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

"""What a release says of itself."""

import json

import pytest
import yaml
from args_models import gpt_model

from megatron.bridge.release.write import description
from megatron.bridge.release.write.common_state import release_args
from megatron.bridge.release.write.description import describe_release, warn_of_what_no_flag_gives


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root whose release has args, a run config and a file."""
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "metadata.json").write_text("{}")
    (folder / "run_config.yaml").write_text(yaml.safe_dump({"model": {"hf_model_id": "org/model"}}))
    args = release_args(gpt_model(), None, tmp_path)
    monkeypatch.setattr(description, "load_common_state_dict", lambda folder: {"args": args})
    return tmp_path


def test_a_release_has_flags_source_and_checksums(root):
    describe_release(root, ["A tensor was left out."])
    folder = root / "release"
    assert "--num-layers=" in (folder / "megatron_lm_args.txt").read_text()
    source = json.loads((folder / "source.json").read_text())
    assert source["model"] == "org/model" and source["waived"] == ["A tensor was left out."]
    files = json.loads((folder / "integrity.json").read_text())["files"]
    assert sorted(files) == ["megatron_lm_args.txt", "metadata.json", "run_config.yaml", "source.json"]


def test_an_object_store_gets_none(root, monkeypatch):
    monkeypatch.setattr(description.MultiStorageClientFeature, "is_enabled", lambda: True)
    describe_release(root)
    assert not (root / "release/integrity.json").exists()


def test_what_no_flag_gives_is_a_warning(capsys):
    assert warn_of_what_no_flag_gives(gpt_model()) == ""
    lacking = warn_of_what_no_flag_gives(gpt_model(softmax_scale=0.5))
    assert "softmax_scale" in lacking
