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

"""Imports a model with unpatched upstream on this host: what the default path must still write.

    PYTHONPATH=UPSTREAM_TREE python upstream_import.py HF_MODEL OUT

Upstream does not run without CUDA and Transformer Engine. What stops it there is worked around here,
outside its code and without the fork's; what it writes is its own.
"""

import contextlib
import importlib.util
import queue
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch


# What the config is given for building the model here, and gets back for what is written.
_HOST = dict(
    apply_rope_fusion=False,
    bias_activation_fusion=False,
    bias_dropout_fusion=False,
    masked_softmax_fusion=False,
    persist_layer_norm=False,
    gradient_accumulation_fusion=False,
)


def load_upstream() -> Any:
    """Import AutoBridge with the stand-ins for CUDA packages, whose modules it builds a model from."""
    path = Path(__file__).parents[2] / "src/megatron/bridge/release/host/stand_in.py"
    spec = importlib.util.spec_from_file_location("stand_in", path)
    stand_in = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stand_in)
    stand_in.activate_stand_ins()
    from megatron.bridge import AutoBridge

    return AutoBridge


def import_model(AutoBridge: Any, hf: str, out: Path) -> None:
    """Import a model as upstream's import_ckpt does, on the CPU.

    Args:
        AutoBridge: What `load_upstream` gave.
        hf: The model's folder.
        out: Checkpoint root to write.
    """
    from megatron.core.dist_checkpointing.strategies import filesystem_async

    from megatron.bridge.models import gpt_provider
    from megatron.bridge.training import config as training_config

    assert "release" not in AutoBridge.import_ckpt.__func__.__code__.co_varnames, "this is not upstream"
    own: dict = {}

    def finalize(self, finalize=gpt_provider.GPTModelProvider.finalize):
        own.update({field: getattr(self, field) for field in _HOST if field != "gradient_accumulation_fusion"})
        own["gradient_accumulation_fusion"] = True
        vars(self).update(_HOST)
        finalize(self)

    def to_yaml(self, path, to_yaml=training_config.ConfigContainer.to_yaml):
        vars(self.model).update(own)
        to_yaml(self, path)

    with contextlib.ExitStack() as stack:
        for target, name, value in (
            (gpt_provider.GPTModelProvider, "finalize", finalize),
            (training_config.ConfigContainer, "to_yaml", to_yaml),
            (torch.cuda, "set_device", lambda device: None),
            (torch.cuda, "current_device", lambda: "cpu"),
            (torch.cuda, "synchronize", lambda: None),
            (torch.cuda, "get_rng_state", torch.get_rng_state),
            (filesystem_async, "_results_queue", queue.Queue()),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
        from megatron.core import parallel_state

        parallel_state.initialize_model_parallel()
        AutoBridge.import_ckpt(hf, out)


if __name__ == "__main__":
    import_model(load_upstream(), sys.argv[1], Path(sys.argv[2]))
