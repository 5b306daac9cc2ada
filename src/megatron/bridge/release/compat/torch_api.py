# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Private or unstable API of torch, seen in torch 2.6 to 2.14."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch.distributed import DistError, HashStore  # type: ignore[attr-defined,unused-ignore]
from torch.distributed.checkpoint import FileSystemWriter  # type: ignore[attr-defined,unused-ignore]
from torch.distributed.checkpoint.api import CheckpointException

# Position of an entry in a file of a checkpoint, which torch pickles into .metadata.
from torch.distributed.checkpoint.filesystem import _StorageInfo as StorageInfo

# torch.save() writes a tensor's header and skips its bytes, which the caller writes.
from torch.serialization import skip_data

# The only place where a tensor's device can be set in operations that torch.device() does not affect.
from torch.utils._python_dispatch import TorchDispatchMode


__all__ = [
    "CheckpointException",
    "DistError",
    "FileSystemWriter",
    "HashStore",
    "StorageInfo",
    "TorchDispatchMode",
    "checkpoint_causes",
    "has_device_argument",
    "is_modified",
    "map_module",
    "skip_data",
    "storage_id",
]


def checkpoint_causes(error: BaseException) -> list[BaseException]:
    """Return the cause on each rank, by rank, of a `CheckpointException`; nothing for other errors.

    `CheckpointException` is not an `Exception`, and its message contains tracebacks.
    """
    return [cause for _, (cause, _) in sorted(getattr(error, "failures", {}).items())]


def has_device_argument(operation: Any) -> bool:
    """Return whether an operation that `TorchDispatchMode` intercepts has an argument for the device."""
    return any(argument.name == "device" for argument in operation._schema.arguments)


def is_modified(tensor: torch.Tensor) -> bool:
    """Return whether a tensor was modified in place since it was created: autograd counts the changes."""
    return bool(tensor._version)


def storage_id(tensor: torch.Tensor) -> int:
    """Return a number that only tensors with the same storage share. Meta tensors have no data pointer for this."""
    return int(tensor.untyped_storage()._cdata)


def map_module(module: torch.nn.Module, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.nn.Module:
    """Return a copy of a module and its submodules, whose parameters and buffers are replaced by a function's results.

    Unlike `copy.deepcopy`, it does not copy the tensors first.
    """
    mapped = copy.copy(module)
    mapped._modules = {
        name: None if child is None else map_module(child, function) for name, child in module._modules.items()
    }
    mapped._parameters = {
        name: None if parameter is None else torch.nn.Parameter(function(parameter), requires_grad=False)
        for name, parameter in module._parameters.items()
    }
    mapped._buffers = {name: None if buffer is None else function(buffer) for name, buffer in module._buffers.items()}
    return mapped
