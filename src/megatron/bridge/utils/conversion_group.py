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

"""The process group in which a model is converted."""

import os
from contextlib import contextmanager
from typing import Iterator

import torch.distributed as dist
from megatron.core import parallel_state

from megatron.bridge.utils.single_process import preserve_environment
from megatron.bridge.utils.cpu_fallbacks import distributed_backend, set_local_device


@contextmanager
def conversion_process_group() -> Iterator[None]:
    """Run a conversion in a process group, from its first check on.

    A process group that is there is used as it is. The group of a single process is destroyed afterwards, so that an
    export or another import can follow. Under torchrun, the group of all ranks stays: torch.distributed cannot
    initialize a second one in the same rendezvous.
    """
    # model_load_save imports the bridges, whose module imports this one.
    from megatron.bridge.training.model_load_save import temporary_distributed_context

    if dist.is_initialized():
        yield
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Without it, a rank whose check fails would leave the others waiting.
        set_local_device()
        dist.init_process_group(distributed_backend())
        yield
    else:
        try:
            with preserve_environment(), temporary_distributed_context(backend="gloo"):
                yield
        except BaseException:
            # The context takes away what it has made whole; this, what was stopped half-way.
            parallel_state.destroy_model_parallel()
            if dist.is_initialized():
                dist.destroy_process_group()
            raise
