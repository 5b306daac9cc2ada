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

"""Loads a checkpoint as Bridge's training does."""

from typing import Callable

import torch
from megatron.core.num_microbatches_calculator import (
    destroy_num_microbatches_calculator,
    init_num_microbatches_calculator,
)
from megatron.core.optimizer import OptimizerConfig

from megatron.bridge import AutoBridge
from megatron.bridge.training.config import CheckpointConfig, ConfigContainer, LoggerConfig, RNGConfig
from megatron.bridge.training.state import GlobalState
from megatron.bridge.utils.single_process import conversion_process_group


def training_load(read: Callable[[GlobalState, list], object], **checkpoint: str | None) -> torch.nn.Module:
    """Load as Bridge's training does, into a fresh model."""
    bridge = AutoBridge.from_hf_pretrained(checkpoint.pop("hf"))
    with conversion_process_group():
        provider = bridge.to_megatron_provider(load_weights=False)
        provider.finalize()
        model = provider.provide_distributed_model(wrap_with_ddp=False, use_cpu_initialization=True)
        state = GlobalState()
        not_trained = dict.fromkeys(("train", "ddp", "scheduler", "dataset", "tokenizer", "dist"))
        state.cfg = ConfigContainer(
            checkpoint=CheckpointConfig(ckpt_format="torch_dist", **checkpoint),
            optimizer=OptimizerConfig(use_distributed_optimizer=False),
            logger=LoggerConfig(),
            rng=RNGConfig(),
            model=provider,
            **not_trained,
        )
        init_num_microbatches_calculator(0, None, 1, 1, 1)
        try:
            read(state, model)
        finally:
            destroy_num_microbatches_calculator()
    return model[0]
