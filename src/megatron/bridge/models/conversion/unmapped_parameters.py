# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Warns about parameters of Megatron that no Hugging Face tensor is converted to."""

from collections.abc import Sequence
from typing import Any

import torch

from megatron.bridge.models.conversion.utils import persistent_buffers
from megatron.bridge.release.compat.bridge_api import is_adapter_parameter
from megatron.bridge.release.text import summarize_names
from megatron.bridge.utils.common_utils import warn_rank_0


def warn_unmapped_parameters(model_bridge: Any, models: Sequence[torch.nn.Module], tasks: Sequence[Any]) -> None:
    """Warn on rank 0 about parameters that a load leaves uninitialized. Those of adapters are ignored.

    Args:
        model_bridge: The model bridge.
        models: This rank's part of the model, one for each virtual pipeline stage.
        tasks: The conversions of the load.
    """
    loaded = {
        (task.vp_stage, task.param_name) for task in tasks if task is not None and task.megatron_module is not None
    }
    names = [
        name
        for stage, model in enumerate(models)
        if isinstance(model, torch.nn.Module)
        for name, _ in (*model.named_parameters(), *persistent_buffers(model))
        if (stage, name) not in loaded and "_extra_state" not in name
        if not is_adapter_parameter(model_bridge, name) and not _is_tied(model, name)
    ]
    if names:
        warn_rank_0(f"No Hugging Face tensor for {summarize_names(names)}; these parameters stay uninitialized.")  # type: ignore[no-untyped-call,unused-ignore]


def _is_tied(model: torch.nn.Module, name: str) -> bool:
    return "output_layer" in name and getattr(model, "share_embeddings_and_output_weights", False)
