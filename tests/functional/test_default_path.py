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

"""With ``release=False`` the fork writes what unpatched upstream writes."""

import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from megatron.core import dist_checkpointing
from roots import tree
from torch.distributed.checkpoint import FileSystemReader
from workers import run_worker

from megatron.bridge import AutoBridge
from megatron.bridge.release.layout import TRACKER, TRAIN_STATE_TRACKER
from megatron.bridge.utils.single_process import conversion_process_group


@pytest.fixture(scope="module")
def roots(tiny, default, upstream_wheel, tmp_path_factory) -> tuple[Path, Path]:
    """The same model imported by unpatched upstream, in a process of its own, and by the fork's default."""
    folder = tmp_path_factory.mktemp("upstream")
    zipfile.ZipFile(upstream_wheel).extractall(folder / "upstream")
    run_worker("upstream_import", tiny.hf, folder / "theirs", PYTHONPATH=str(folder / "upstream"))
    return folder / "theirs", default


def test_default_import_writes_same_file_names_as_upstream(roots):
    theirs, ours = roots
    assert tree(ours) == tree(theirs)
    assert "iter_0000000/.metadata" in tree(ours) and not (ours / "release").exists()


def test_reproducible_files_match_upstream_byte_for_byte(roots):
    theirs, ours = roots
    names = [name for name in tree(theirs) if not name.endswith(("run_config.yaml", "/.metadata"))]
    assert {TRACKER, TRAIN_STATE_TRACKER, "iter_0000000/__0_0.distcp", "iter_0000000/metadata.json"} < set(names)
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


def test_run_config_differs_from_upstream_only_in_save_path(roots):
    theirs, ours = (yaml.safe_load((root / "iter_0000000/run_config.yaml").read_text()) for root in roots)
    assert theirs["checkpoint"].pop("save") == str(roots[0]) and ours["checkpoint"].pop("save") == str(roots[1])
    assert ours == theirs


def test_metadata_matches_entries_and_offsets_of_upstream(roots):
    # The file is a pickle of sets, which have no order, and carries the id of the save.
    theirs, ours = (FileSystemReader(root / "iter_0000000").read_metadata() for root in roots)
    assert set(ours.state_dict_metadata) == set(theirs.state_dict_metadata)
    assert ours.storage_data == theirs.storage_data


def test_low_memory_save_writes_same_values(roots, tiny, tmp_path):
    for release in (False, True):
        AutoBridge.import_ckpt(tiny.hf, tmp_path / str(release), low_memory_save=True, release=release)
    folders = [
        roots[1] / "iter_0000000",
        tmp_path / "False/iter_0000000",
        tiny.root / "release",
        tmp_path / "True/release",
    ]
    with conversion_process_group():
        loaded = [dist_checkpointing.load_plain_tensors(str(folder)) for folder in folders]
    # What a release holds beyond an iteration.
    whole, low_memory = (vars(release.pop("args")) for release in loaded[2:])
    assert low_memory == whole | {"tokenizer_model": str(tmp_path / "True/release/tokenizer")}
    for tensors in loaded[1:]:
        assert set(tensors) == set(loaded[0])
        equal = [torch.equal(tensor, loaded[0][name]) for name, tensor in tensors.items() if torch.is_tensor(tensor)]
        assert equal == [True] * 9
