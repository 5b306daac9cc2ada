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

"""Stands for the tensors of a Hugging Face model where only what their headers say is needed."""

from collections.abc import Iterable, Mapping

import torch

from megatron.bridge.models.hf_pretrained.state import StateSource
from megatron.bridge.release.source.safetensors_index import TensorInfo


# By safetensors' words.
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
# Those that hold a weight as it is.
FLOAT_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class Names(list[str]):
    """A list of names that is looked into as fast as a set: a state dict looks for each name that it is asked for."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(names)
        self._set = set(self)

    def __contains__(self, name: object) -> bool:
        return name in self._set


class MetaTensorSource(StateSource):
    """A model's tensors without their values, on the meta device.

    Attributes:
        read: What has been read, by name, in order.
    """

    def __init__(self, headers: Mapping[str, TensorInfo]) -> None:
        self._headers, self._names = headers, Names(headers)
        self.read: list[tuple[str, torch.Tensor]] = []

    def get_all_keys(self) -> list[str]:
        """See StateSource."""
        return self._names

    def load_tensors(self, keys: list[str]) -> dict[str, torch.Tensor]:
        """See StateSource."""
        tensors = {
            key: torch.empty(self._headers[key].shape, dtype=DTYPES[self._headers[key].dtype], device="meta")
            for key in keys
        }
        self.read += tensors.items()
        return tensors
