# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Writes the tensors of an export to safetensors files while they are converted, and their index."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from megatron.bridge.release.source.safetensors_index import INDEX, WEIGHTS


class WeightShards:
    """The weight files of an exported model.

    With a layout, each tensor is written to the file that contains it in the source model, as soon as all tensors of the
    file are converted. With a maximum size, files are filled in the order of the tensors.

    Args:
        folder: Directory to write to.
        layout: File names in the source model, by the names of the tensors.
        max_size: Maximum size of a file with several tensors, in bytes; None to use the layout.
    """

    def __init__(self, folder: Path, layout: Mapping[str, str], max_size: int | None) -> None:
        self._folder, self._layout, self._max_size = folder, layout, max_size
        self._awaited: dict[str, set[str]] = {}
        for name, file in layout.items():
            self._awaited.setdefault(file, set()).add(name)
        self._buffers: dict[str, dict[str, torch.Tensor]] = {}
        self._packed: list[str] = []
        self._buffered = 0
        self._total = 0
        self._files: dict[str, str] = {}

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Add a tensor."""
        size = tensor.numel() * tensor.element_size()
        self._total += size
        if self._max_size is not None:
            if self._packed and self._buffered and self._buffered + size > self._max_size:
                self._write(self._packed[-1])
            if not self._buffered:
                self._packed.append(f"part-{len(self._packed)}")
            self._buffers.setdefault(self._packed[-1], {})[name] = tensor
            self._buffered += size
            return
        # Tensors that the source model does not have go to the last file.
        file = self._layout.get(name, "")
        self._buffers.setdefault(file, {})[name] = tensor
        awaited = self._awaited.get(file, set())
        awaited.discard(name)
        if file and not awaited and len(self._awaited) > 1:
            del self._awaited[file]
            self._write(file)

    def close(self) -> frozenset[str]:
        """Write the remaining tensors, and the index if there are several files. Return the names of all tensors."""
        if self._max_size is None:
            without_file = self._buffers.pop("", {})
            files = sorted(self._buffers) or [WEIGHTS]
            self._buffers.setdefault(files[-1], {}).update(without_file)
        for file in sorted(self._buffers):
            self._write(file)
        if self._max_size is not None:
            self._name_packed()
        if len(set(self._files.values())) > 1:
            index = {"metadata": {"total_size": self._total}, "weight_map": dict(sorted(self._files.items()))}
            (self._folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        elif self._files and (only := next(iter(self._files.values()))) != WEIGHTS:
            # Without an index, transformers reads this file name only.
            (self._folder / only).rename(self._folder / WEIGHTS)
        return frozenset(self._files)

    def _write(self, file: str) -> None:
        tensors = {name: tensor.contiguous() for name, tensor in self._buffers.pop(file).items()}
        try:
            # transformers 4 requires this metadata.
            save_file(tensors, self._folder / file, metadata={"format": "pt"})
        except SafetensorError as error:
            # The error has neither an errno nor the file name.
            raise OSError(f"Cannot write {self._folder / file} ({error}).") from error
        self._files.update(dict.fromkeys(tensors, file))
        self._buffered = 0

    def _name_packed(self) -> None:
        count = len(self._packed)
        names = {
            part: WEIGHTS if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"
            for number, part in enumerate(self._packed, 1)
        }
        for part, name in names.items():
            (self._folder / part).rename(self._folder / name)
        self._files = {tensor: names[part] for tensor, part in self._files.items()}
