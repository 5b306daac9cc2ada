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

"""The args and the common state of a release."""

from types import SimpleNamespace

import pytest
import torch
from args_models import gpt_model

from megatron.bridge.release.write import common_state
from megatron.bridge.release.write.common_state import release_args, save_object, write_common_state


def _tokenizer(model: str) -> SimpleNamespace:
    return SimpleNamespace(tokenizer_type="HuggingFaceTokenizer", tokenizer_model=model)


def test_the_args_name_the_tokenizer_s_copy_where_it_was_a_folder(tmp_path):
    args = release_args(gpt_model(), _tokenizer(str(tmp_path)), tmp_path / "root")
    assert (args.ckpt_format, args.tokenizer_type) == ("torch_dist", "HuggingFaceTokenizer")
    assert args.tokenizer_model == str(tmp_path / "root/release/tokenizer")


def test_the_args_name_a_model_of_the_hub_as_it_is_and_no_tokenizer_where_there_is_none(tmp_path):
    args = release_args(gpt_model(), _tokenizer("org/model"), tmp_path)
    assert args.tokenizer_model == "org/model"
    assert getattr(release_args(gpt_model(), None, tmp_path), "tokenizer_model", None) is None


def test_the_common_state_is_written_again_once(tmp_path, monkeypatch):
    (tmp_path / "release").mkdir()
    monkeypatch.setattr(common_state, "load_common_state_dict", lambda folder: {"iteration": 0, "read": folder})
    write_common_state(tmp_path)
    written = torch.load(tmp_path / "release/common.pt", weights_only=True)
    assert written == {"iteration": 0, "read": str(tmp_path / "release")}
    monkeypatch.setattr(common_state, "load_common_state_dict", None)
    write_common_state(tmp_path)


def test_an_object_store_gets_none(tmp_path, monkeypatch):
    monkeypatch.setattr(common_state.MultiStorageClientFeature, "is_enabled", lambda: True)
    write_common_state(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_operating_system_is_named(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        save_object({}, tmp_path / "gone/common.pt")
