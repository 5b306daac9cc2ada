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


"""Computes with the first layers of a Hugging Face model, from its own files."""

import json
import re
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig


_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.(.*)")


class NotComputable(Exception):
    """Transformers cannot compute the model on this host. The message says why."""


class HuggingFaceModel:
    """A Hugging Face model of which a part is computed.

    Attributes:
        config: Its config.
        layers: Number of layers that it has.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._folder = _local(name)
        self.config: PretrainedConfig = AutoConfig.from_pretrained(self._folder)
        if getattr(self.config, "num_hidden_layers", None) is None:
            raise NotComputable(f"{type(self.config).__name__} is not of one stack of layers")
        self.layers: int = self.config.num_hidden_layers
        self._shapes = _shapes(self._folder)

    def kinds(self) -> list[tuple[Any, ...]]:
        """Tell for each layer what it is made of: layers with equal values are of one kind."""
        tensors: list[set[Any]] = [set() for _ in range(self.layers)]
        for name, shape in self._shapes.items():
            match = _LAYER.search(name)
            if match is not None and int(match[1]) < self.layers:
                tensors[int(match[1])].add((match[2], shape))
        lists = [value for value in self.config.to_dict().values() if isinstance(value, list)]
        told = [value for value in lists if len(value) == self.layers]
        return [(frozenset(tensors[layer]), *(str(value[layer]) for value in told)) for layer in range(self.layers)]

    def parameters(self, layers: int) -> int:
        """Count the parameters that the first layers need, with what stands outside of the layers."""
        total = 0
        for name, shape in self._shapes.items():
            match = _LAYER.search(name)
            if match is None or int(match[1]) < layers:
                total += prod(shape)
        return total

    def compute(self, layers: int, tokens: torch.Tensor) -> torch.Tensor:
        """Compute the logits, [1, positions, vocabulary], of tokens [1, positions].

        Raises:
            ValueError: If the files lack a tensor: transformers would make one up.
        """
        values = self.config.to_dict() | {"num_hidden_layers": layers}
        for field, value in values.items():
            if isinstance(value, list) and len(value) == self.layers:
                values[field] = value[:layers]
        config = type(self.config).from_dict(values)
        if getattr(config, "quantization_config", None) is not None:
            raise NotComputable("its Hugging Face files are quantised")
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            self._folder,
            config=config,
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
        )
        model, info = loaded
        for kind in ("missing_keys", "mismatched_keys"):
            if wrong := sorted(str(key) for key in info[kind]):
                what = "has no" if kind == "missing_keys" else "has another shape than its config says of"
                raise ValueError(f"{self._name} {what} {_few(wrong)}. Give the model that the release was made of.")
        with torch.inference_mode():
            return model.eval()(input_ids=tokens, use_cache=False).logits


def _local(name: str) -> Path:
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=["*.safetensors", "*.json"]))


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of a model's tensors from the headers of its files."""
    index = folder / "model.safetensors.index.json"
    files: Iterable[Path] = sorted(folder.glob("*.safetensors"))
    if index.is_file():
        names = set(json.loads(index.read_text())["weight_map"].values())
        files = [folder / name for name in sorted(names)]
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}
    if not shapes:
        raise ValueError(f"{folder} holds no safetensors. Give the model that the release was made of.")
    return shapes


def _few(names: list[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
