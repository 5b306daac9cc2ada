# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Stands in for the tensors of a Hugging Face model if only their dtypes and shapes matter."""

from collections.abc import Mapping
from typing import Any

import torch

from megatron.bridge.models.hf_pretrained.state import StateSource
from megatron.bridge.release.source.dtypes import TORCH_DTYPES
from megatron.bridge.release.source.safetensors_index import TensorInfo


class MetaTensorSource(StateSource):
    """The tensors of a model, on the meta device.

    Attributes:
        read: The tensors that were loaded, with their names, in order.
    """

    def __init__(self, tensors: Mapping[str, TensorInfo]) -> None:
        self._tensors = tensors
        self.read: list[tuple[str, torch.Tensor]] = []

    def get_all_keys(self) -> Any:
        # Not a list: StateDict searches it for each tensor.
        return self._tensors.keys()

    def load_tensors(self, keys: list[str]) -> dict[str, torch.Tensor]:
        tensors = {
            key: torch.empty(self._tensors[key].shape, dtype=TORCH_DTYPES[self._tensors[key].dtype], device="meta")
            for key in keys
        }
        self.read += tensors.items()
        return tensors
