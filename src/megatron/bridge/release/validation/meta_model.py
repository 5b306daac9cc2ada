# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Builds Megatron models without weights, on the meta device.

Modules of Megatron Core and Transformer Engine choose their devices themselves, and some initialize weights even if the
config disables it. Here every tensor created during the build is a meta tensor, which needs no memory on any host.
"""

from collections.abc import Callable
from typing import Any

import torch
from megatron.core.process_groups_config import ProcessGroupCollection

from megatron.bridge.release.compat.torch_api import TorchDispatchMode, has_device_argument, map_module
from megatron.bridge.utils.single_process import preserve_environment


def build_on_meta(
    provider: Any,
    groups: ProcessGroupCollection | None = None,
    before_wrapping: Callable[[list[Any]], list[Any]] = lambda models: models,
) -> list[Any]:
    """Build a model whose parameters and buffers are meta tensors, without the hooks of its provider.

    Args:
        provider: The model provider, finalized.
        groups: Process groups of the model; those of `parallel_state` if None.
        before_wrapping: Called with the model before it is wrapped for mixed precision. Returns the model.
    """
    provider.perform_initialization = False
    provide = provider.provide

    def provide_on_meta(*args: Any, **keywords: Any) -> Any:
        with torch.device("meta"), _MetaTensors():  # type: ignore[no-untyped-call,unused-ignore]
            return provide(*args, **keywords)

    # Only for this call: the code around it in Bridge communicates with other ranks.
    vars(provider)["provide"] = provide_on_meta
    try:
        with preserve_environment():
            model: list[Any] = provider.provide_distributed_model(
                wrap_with_ddp=False,
                use_cpu_initialization=True,
                pre_wrap_hook=before_wrapping,
                post_wrap_hook=lambda models: models,
                pg_collection=groups,
            )
    finally:
        del vars(provider)["provide"]
    return model


def cpu_twin(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a module for conversions, which move weights to the device of its parameters.

    Its parameters and buffers are on the CPU, with their shapes and dtypes. Each uses the memory of one value.
    """
    return map_module(module, _one_value)


def _one_value(tensor: torch.Tensor) -> torch.Tensor:
    return torch.zeros((), dtype=tensor.dtype, device="cpu").expand(tensor.shape)


class _MetaTensors(TorchDispatchMode):  # type: ignore[no-untyped-call,unused-ignore]
    """Redirects every operation with a device to the meta device.

    Except `torch.linspace` on the CPU, whose values classes of transformers read.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        is_of_numbers = func.overloadpacket is torch.ops.aten.linspace and kwargs["device"] == torch.device("cpu")
        if not is_of_numbers and has_device_argument(func):
            kwargs["device"] = torch.device("meta")
        return func(*args, **kwargs)
