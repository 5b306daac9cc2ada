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

"""Models that are not what their config says, made of models that are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from expected_errors import raises
from safetensors.torch import load_file, save_file

from megatron.bridge import AutoBridge
from megatron.bridge.models.conversion.model_bridge import MegatronModelBridge
from megatron.bridge.release.errors import ReleaseError


Tensors = dict[str, torch.Tensor]
ATTENTION = "model.layers.1.self_attn."
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}


def without(*names: str) -> Callable[[Tensors], Tensors]:
    """Take tensors out."""
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if name not in names}


def with_more(**more: tuple[int, ...]) -> Callable[[Tensors], Tensors]:
    """Add a tensor of a shape to each layer; `__` stands for a dot."""
    added = {
        f"model.layers.{layer}.{name.replace('__', '.')}": shape for name, shape in more.items() for layer in range(2)
    }
    return lambda tensors: tensors | {name: torch.ones(shape) for name, shape in added.items()}


def make_odd(hf: Path, folder: Path, tensors: Callable[[Tensors], Tensors] | None, config: dict[str, Any]) -> Path:
    """Make an odd model of another.

    Args:
        hf: The other one, which stays as it is.
        folder: Where to write the folder ``hf``.
        tensors: What to do to its tensors, if anything.
        config: What its config says otherwise; a field of "" is taken out.

    Returns:
        Its folder.
    """
    copy = Path(shutil.copytree(hf, folder / "hf"))
    if tensors is not None:
        save_file(tensors(load_file(copy / "model.safetensors")), copy / "model.safetensors", {"format": "pt"})
    change_config(copy, **config)
    return copy


def change_config(hf: Path, **changes: Any) -> None:
    """Give fields of a model's config other values; a field of "" is taken out."""
    values = json.loads((hf / "config.json").read_text()) | changes
    (hf / "config.json").write_text(json.dumps({key: value for key, value in values.items() if value != ""}))


def assert_refused(hf: Path | str, root: Path, expected: ReleaseError, **keywords: Any) -> None:
    """Assert that an import is refused in one line, reads no weight and writes nothing.

    Args:
        hf: The model.
        root: The root to import to, which is not there.
        expected: The error.
        **keywords: More of the import's.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(MegatronModelBridge, "load_weights_hf_to_megatron", None)  # Nothing is read.
        with raises(expected):
            AutoBridge.import_ckpt(hf, root, release=True, **keywords)
    assert not root.exists()
