# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0


"""Computes logits with the first layers of a Hugging Face model."""

import json
import re
from math import prod
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from megatron.bridge.release.compat.transformers_api import EAGER_EXPERTS
from megatron.bridge.release.errors import NotComputableError, one_line
from megatron.bridge.release.verify.errors import IndexMetadataError, ModelTensorsError


_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.(.*)")

# The config fields that planning a computation needs.
_SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size")


class HuggingFaceModel:
    """A Hugging Face model for the logit check.

    Args:
        name: Model ID, or directory of a model.
        revision: Revision of a model ID; None for the default branch.

    Attributes:
        layers: Number of layers.

    Raises:
        ReleaseError: If there is no such model, or if its files are corrupt.
        NotComputableError: If transformers cannot read its config, or if the config lacks a size.
    """

    def __init__(self, name: str, revision: str | None = None) -> None:
        # megatron.bridge takes many seconds to import.
        from megatron.bridge.release.source.dtypes import TORCH_DTYPES
        from megatron.bridge.release.source.safetensors_index import read_index
        from megatron.bridge.release.validation.errors import CustomConfigCodeError
        from megatron.bridge.release.validation.preflight import check_model

        self._name = name
        try:
            self._folder = check_model(name, {"revision": revision}).folder
        except CustomConfigCodeError as error:
            raise NotComputableError("it needs trust_remote_code, which the logit check does not run") from error
        headers = read_index(self._folder)
        self._shapes = {tensor: header.shape for tensor, header in headers.items()}
        self._dtypes = {TORCH_DTYPES.get(header.dtype) for header in headers.values()}
        _check_index(self._folder)
        try:
            self.config: PretrainedConfig = AutoConfig.from_pretrained(self._folder, trust_remote_code=False)
        except Exception as error:
            raise NotComputableError(f"transformers cannot read its config ({one_line(error)})") from error
        if missing := [field for field in _SIZES if type(getattr(self.config, field, None)) is not int]:
            raise NotComputableError(f"its {type(self.config).__name__} has no {', '.join(missing)}")
        self.layers: int = self.config.num_hidden_layers

    def kinds(self) -> list[tuple[Any, ...]]:
        """Return a description of each layer, which is equal for layers of the same type."""
        tensors: list[set[Any]] = [set() for _ in range(self.layers)]
        for name, shape in self._shapes.items():
            match = _LAYER.search(name)
            if match is not None and int(match[1]) < self.layers:
                tensors[int(match[1])].add((match[2], shape))
        lists = [value for value in self.config.to_dict().values() if isinstance(value, list)]
        per_layer = [value for value in lists if len(value) == self.layers]
        return [
            (frozenset(tensors[layer]), *(str(value[layer]) for value in per_layer)) for layer in range(self.layers)
        ]

    def parameters(self, layers: int) -> int:
        """Return the number of parameters in the first layers and outside of all layers."""
        total = 0
        for name, shape in self._shapes.items():
            match = _LAYER.search(name)
            if match is None or int(match[1]) < layers:
                total += prod(shape)
        return total

    def compute(self, layers: int, tokens: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, bool]:
        """Compute logits with the first layers, the final norm and the output layer, in float32.

        Args:
            layers: Number of layers.
            tokens: Tokens, [1, positions].
            dtype: The dtype of the release, to which an import casts the weights.

        Returns:
            The logits, [1, positions, vocabulary]; and whether the cast has changed a weight.

        Raises:
            ModelTensorsError: If tensors are missing or have another shape; transformers would initialize them.
            NotComputableError: If transformers cannot load or run the model on this host.
        """
        model, is_cast = self._load(layers), False
        # Files of that dtype need no cast, whose copies would take memory.
        if self._dtypes != {dtype}:
            for parameter in model.parameters():
                cast = parameter.data.to(dtype).float()
                is_cast = is_cast or not torch.equal(cast, parameter.data)
                parameter.data = cast
        try:
            with torch.inference_mode():
                return torch.as_tensor(model(input_ids=tokens, use_cache=False).logits), is_cast
        except Exception as error:
            raise NotComputableError(f"transformers cannot run it here ({one_line(error)})") from error

    def _load(self, layers: int) -> Any:
        values = self.config.to_dict() | {"num_hidden_layers": layers}
        for field, value in values.items():
            if isinstance(value, list) and len(value) == self.layers:
                values[field] = value[:layers]
        if values.get("quantization_config") is not None:
            raise NotComputableError("its Hugging Face weights are quantized")
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                self._folder,
                config=type(self.config).from_dict(values),
                dtype=torch.float32,
                attn_implementation="eager",
                # Grouped GEMM needs rows aligned to 16 bytes.
                **EAGER_EXPERTS,
                # They are reported below.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except Exception as error:
            raise NotComputableError(f"transformers cannot load it here ({one_line(error)})") from error
        model, info = loaded
        for kind in ("missing", "mismatched"):
            # A mismatched key comes with its two shapes.
            keys = info[f"{kind}_keys"]
            if names := sorted(str(key if isinstance(key, str) else key[0]) for key in keys):
                raise ModelTensorsError(self._name, kind, tuple(names))
        return model.eval()


def _check_index(folder: Path) -> None:
    """Require what transformers requires of an index, and `read_index` does not."""
    from megatron.bridge.release.source.safetensors_index import INDEX, WEIGHTS

    index = folder / INDEX
    # Transformers reads no index if the whole model is in one file.
    if not index.is_file() or (folder / WEIGHTS).is_file():
        return
    if not isinstance(json.loads(index.read_text(encoding="utf-8")).get("metadata"), dict):
        raise IndexMetadataError(index)
