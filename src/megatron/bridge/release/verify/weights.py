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

"""Compares a checkpoint with its Hugging Face source model, bit by bit, and names the tensors that differ.

Parameters that are what an import would write are found without loading them; the others are loaded, a few layers at a
time, and converted to Hugging Face's layout.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from tqdm import tqdm

from megatron.bridge import AutoBridge  # type: ignore[attr-defined,unused-ignore]
from megatron.bridge.models.hf_pretrained.state import SafeTensorsStateSource
from megatron.bridge.release.source.provenance import recorded_revision
from megatron.bridge.release.source.safetensors_index import read_index
from megatron.bridge.release.text import summarize_names
from megatron.bridge.release.validation.fidelity import settle_dtype
from megatron.bridge.release.validation.meta_model import build_on_meta
from megatron.bridge.release.validation.preflight import check_model
from megatron.bridge.release.validation.tensors import is_ignored, model_bridge_of
from megatron.bridge.release.verify.args import EMBEDDING
from megatron.bridge.release.verify.dcp_metadata import read_metadata
from megatron.bridge.release.verify.partial_load import load_part
from megatron.bridge.release.verify.streamed_weights import bits, find_equal
from megatron.bridge.release.write.streaming import entries_of
from megatron.bridge.training.model_load_save import temporary_distributed_context


# Parameters with a row for each token, and after these perhaps rows that pad the vocabulary.
_PADDED = (EMBEDDING, "output_layer.weight")

# How many bytes of the checkpoint are loaded at a time; at least one tensor is.
_BATCH = 1 << 28

# How many differing tensors are a problem each. More of them are one problem.
_MOST_PROBLEMS = 8


def compare(folder: Path, hf_model: str, revision: str | None = None) -> tuple[int, list[str]]:
    """Compare every tensor of a checkpoint with its source.

    The model is built from the Hugging Face config, not from what the checkpoint says, and has no weights of its own.
    Rows that pad the vocabulary are no part of it.

    Args:
        folder: Checkpoint folder, which `megatron.bridge.release.verify.check.check` has found to load.
        hf_model: Hugging Face model ID, or folder of a model.
        revision: Revision of a model ID; None for the commit that the release records.

    Returns:
        The number of tensors that are equal to the source's; and the problems: which of the source's tensors differ or
        are missing, and which of the checkpoint's have no source. An output layer that is tied to the embedding needs
        none, and tensors that the import ignores in every model, such as rotary tables, are not missing.

    Raises:
        ValueError: If the model cannot be read, or if the checkpoint is of another one: one line.
        OSError: If a file cannot be read.
        MemoryError: If there is not enough of it.
    """
    model_source = check_model(hf_model, {"revision": revision or recorded_revision(folder.parent, hf_model)})
    hf_model = model_source.name
    bridge = AutoBridge.from_hf_pretrained(model_source.folder)
    source = bridge.hf_pretrained.state
    if isinstance(source.source, SafeTensorsStateSource):
        settle_dtype(bridge.hf_pretrained, read_index(source.source.path))
    provider = _make_provider(bridge, folder)
    lacking = {name for name in source.keys() if not is_ignored(name, bridge.hf_pretrained.config)}
    problems = []
    with temporary_distributed_context(backend="gloo"):
        model = build_on_meta(provider)
        _require_same_shapes(model[0], folder, hf_model)
        found = find_equal(folder, bridge)
        equal = found.tensors
        tasks = _tasks_with_weights(bridge, model)
        parameters = {name.removeprefix("module.") for name, _ in model[0].named_parameters()}
        without = parameters - {task.param_name for task in tasks}
        if without:
            problems.append(
                f"Parameters of the checkpoint without a tensor in {hf_model}: {summarize_names(sorted(without))}."
            )
        if lacking - equal:
            # The files may hold a copy of a tied output layer, which is compared with the embedding.
            found.parameters -= {task.param_name for task in tasks if task.param_name.endswith(EMBEDDING)}
        loaded = _Loaded(model[0], folder, [task for task in tasks if task.param_name not in found.parameters])
        differing: dict[str, str] = {}
        for name, difference in _find_differences(bridge, model, loaded, hf_model):
            lacking.discard(name)
            equal.discard(name)
            if difference is None:
                equal.add(name)
            else:
                differing[name] = difference
        if len(differing) > _MOST_PROBLEMS:
            total = len(differing) + len(equal)
            problems.append(f"{len(differing)} of {total} tensors differ from {hf_model}: {summarize_names(differing)}.")
        else:
            problems += differing.values()
    if lacking - equal:
        problems.append(_describe_lacking(lacking - equal, hf_model, mapped=not without))
    return len(equal), problems


def _require_same_shapes(model: Any, folder: Path, hf_model: str) -> None:
    """Require that a checkpoint contains the parameters of a model, before values are compared.

    Raises:
        ValueError: If a parameter is missing or has another shape.
    """
    stored = read_metadata(folder).tensors
    expected = {entry.key: tuple(entry.global_shape) for entry in entries_of(model)}
    if missing := sorted(expected.keys() - stored.keys()):
        raise ValueError(
            f"Different architecture: {folder} does not contain the parameters {summarize_names(missing)}. Pass the source model."
        )
    differing = [name for name, shape in expected.items() if tuple(stored[name].shape) != shape]
    if differing:
        name = differing[0]
        raise ValueError(
            f"Shape mismatch in {len(differing)} of {len(expected)} parameters: {name} is {list(stored[name].shape)} in "
            f"{folder}, {hf_model} implies {list(expected[name])}. Pass the source model."
        )


def _make_provider(bridge: AutoBridge[Any], folder: Path) -> Any:
    """Make the provider of a model with as many rows for the vocabulary as the checkpoint has."""
    provider = bridge.to_megatron_provider(load_weights=False)
    embedding = read_metadata(folder).tensors.get(EMBEDDING)
    if embedding is not None:
        provider.vocab_size, provider.should_pad_vocab = embedding.shape[0], False
    provider.finalize()
    return provider


def _tasks_with_weights(bridge: AutoBridge[Any], model: list[Any]) -> list[Any]:
    """Return a model's conversion tasks whose parameters have a source."""
    # A parameter that nothing maps has no task, and a task whose source is missing has no weight.
    tasks = [task for task in bridge.get_conversion_tasks(model) if task is not None]
    return [task for task in tasks if task.param_weight is not None]


def _find_differences(
    bridge: AutoBridge[Any], model: list[Any], tasks: "_Loaded", hf_model: str
) -> Iterator[tuple[str, str | None]]:
    """Convert a checkpoint's parameters and compare them with the tensors of its source model.

    Args:
        bridge: The `AutoBridge` of the Hugging Face model.
        model: Megatron's model.
        tasks: The conversion tasks of the parameters, with their weights.
        hf_model: The Hugging Face model, for the messages.

    Yields:
        Name of each of the source's tensors, and how it differs; None if it does not.
    """
    source = bridge.hf_pretrained.state
    registry = model_bridge_of(bridge).mapping_registry()
    mappings = [registry.megatron_to_hf_lookup(name) for name in _PADDED]
    padded = {mapping.hf_param for mapping in mappings if mapping is not None}
    for name, tensor in bridge.export_hf_weights(model, show_progress=False, conversion_tasks=tasks):  # type: ignore[arg-type,unused-ignore]
        if name not in source:
            continue
        expected = source[name].to(tensor.dtype)  # type: ignore[union-attr,unused-ignore]
        if name in padded:
            tensor = tensor[: expected.shape[0]]
        difference = None
        if tensor.shape != expected.shape:
            difference = f"{name} is {tuple(tensor.shape)}, and {tuple(expected.shape)} in {hf_model}"
        elif count := int((bits(tensor) != bits(expected)).sum()):
            difference = f"{name} differs from {hf_model} in {count} of {tensor.numel()} values"
        # The next tensor is read before these names are bound to it.
        del tensor, expected
        yield name, difference


def _describe_lacking(names: set[str], hf_model: str, *, mapped: bool) -> str:
    """Return what to say of tensors that the checkpoint lacks, given whether all of its parameters have a source."""
    why = (
        " No parameter corresponds to them; the import may have skipped them (allow_unused_tensors)." if mapped else ""
    )
    return f"Tensors of {hf_model} that the checkpoint does not contain: {summarize_names(sorted(names))}.{why}"


class _Loaded:
    """The conversion tasks of a model without weights, each with its weight when its turn comes."""

    def __init__(self, model: Any, folder: Path, tasks: list[Any]) -> None:
        self._sharded, self._folder, self._tasks = model.sharded_state_dict(), folder, tasks

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Any]:
        total = sum(_size(task.param_weight) for task in self._tasks)
        with tqdm(
            desc="compare by names", total=total, unit="B", unit_scale=True, disable=None, leave=False
        ) as progress:
            for batch in self._batches():
                weights = self._load([task.param_name for task in batch])
                for task in batch:
                    # The weight is released when the next one is asked for.
                    yield replace(task, param_weight=weights.pop(task.param_name))
                    progress.update(_size(task.param_weight))

    def _batches(self) -> Iterator[list[Any]]:
        batch: list[Any] = []
        size = 0
        for task in self._tasks:
            if batch and size + _size(task.param_weight) > _BATCH:
                yield batch
                batch, size = [], 0
            batch.append(task)
            size += _size(task.param_weight)
        if batch:
            yield batch

    def _load(self, names: list[str]) -> dict[str, torch.Tensor]:
        wanted: dict[str, ShardedTensor | ShardedTensorFactory] = {}
        for name in names:
            entry = self._sharded[name]
            wanted[name] = replace(entry, data=torch.empty(entry.data.shape, dtype=entry.data.dtype))
        try:
            return load_part(wanted, self._folder)
        except ValueError as error:
            raise ValueError(f"{self._folder} cannot be read: {error}") from error


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
