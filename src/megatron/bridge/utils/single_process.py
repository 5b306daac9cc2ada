# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Process groups of a single process, and the environment variables that Megatron Core sets when it builds a model."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.process_groups_config import ProcessGroupCollection

from megatron.bridge.release.compat.megatron_core_api import process_groups
from megatron.bridge.release.compat.torch_api import HashStore
from megatron.bridge.utils.cpu_fallbacks import distributed_backend, set_local_device


# Megatron Core records a model's attention backend in these, and then refuses a model with another one.
_ATTENTION_BACKEND = ("NVTE_FLASH_ATTN", "NVTE_FUSED_ATTN", "NVTE_UNFUSED_ATTN")


@contextmanager
def preserve_environment(**values: str) -> Iterator[None]:
    """Restore on exit the variables in which Megatron Core records an attention backend; meanwhile they start unset.

    Other variables stay untouched: threads of gloo, OpenMP and tokenizers may read them.

    Args:
        values: Further variables, which are set meanwhile.
    """

    def recorded() -> list[str]:
        return [name for name in os.environ if name.startswith(_ATTENTION_BACKEND) or name in values]

    before = {name: os.environ.pop(name) for name in recorded()}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in recorded():
            if name not in before:
                del os.environ[name]
        os.environ.update(before)


@contextmanager
def conversion_process_group() -> Iterator[None]:
    """Run a conversion in a process group, from its first check on. An existing group is used.

    The group of a single process is destroyed afterwards, so that another conversion can follow. Under torchrun, the
    group of all ranks stays: torch.distributed cannot initialize a second one in the same rendezvous.
    """
    # Imported here to avoid a circular import.
    from megatron.bridge.training.model_load_save import temporary_distributed_context

    if dist.is_initialized():
        yield
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Started before the checks: a rank whose check fails must reach the others.
        set_local_device()
        dist.init_process_group(distributed_backend())
        yield
    else:
        try:
            with preserve_environment(), temporary_distributed_context(backend="gloo"):
                yield
        except BaseException:
            # The context does not clean up if it was stopped while it set up the groups.
            parallel_state.destroy_model_parallel()
            if dist.is_initialized():
                dist.destroy_process_group()
            raise


@contextmanager
def _default_group() -> Iterator[None]:
    """Use the default process group. If there is none, make one of this process alone, without sockets."""
    if dist.is_initialized():
        yield
        return
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def local_groups() -> Iterator[ProcessGroupCollection]:
    """Make process groups of this process alone, besides those that exist. Works on every rank by itself."""
    with _default_group():
        group: Any = dist.new_group([dist.get_rank()], backend="gloo", use_local_synchronization=True)
        try:
            yield process_groups(group)
        finally:
            dist.destroy_process_group(group)


@contextmanager
def model_parallel_groups() -> Iterator[None]:
    """Initialize Megatron Core's model parallel groups if they are not, and destroy what was initialized."""
    is_alone = not dist.is_initialized()
    with _default_group():
        if parallel_state.is_initialized():
            yield
            return
        try:
            parallel_state.initialize_model_parallel()
            yield
        finally:
            # The groups of a default group that is destroyed end with it.
            groups = () if is_alone else vars(ProcessGroupCollection.use_mpu_process_groups()).values()
            parallel_state.destroy_model_parallel()
            for group in {group for group in groups if isinstance(group, dist.ProcessGroup)} - {dist.group.WORLD}:
                dist.destroy_process_group(group)
