# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/model_provider.py."""

from patches.edit import Edit
from patches.operations import AddDecorator, ReplaceExpression, ReplaceStatement


TARGET = "megatron/bridge/models/model_provider.py"

_DEVICE = ReplaceExpression("torch.cuda.set_device(...)", "set_local_device()")
_BACKEND = ReplaceExpression('"nccl"', "distributed_backend()")
_HOST = ("from megatron.bridge.utils.cpu_fallbacks import distributed_backend, set_local_device",)
_WHY = "A host without CUDA has no device to set and needs gloo process groups."
_DROP = "upstream's provider runs on a host without CUDA."

EDITS = (
    Edit(
        name="provide-without-cuda",
        symbol="ModelProviderMixin.provide_distributed_model",
        why=_WHY,
        drop_when=_DROP,
        do=(_DEVICE, _BACKEND),
        imports=_HOST,
    ),
    Edit(
        name="parallel-without-cuda",
        symbol="ModelProviderMixin.initialize_model_parallel",
        why=f"{_WHY} The seed is for CUDA generators.",
        drop_when=_DROP,
        do=(_DEVICE, _BACKEND, ReplaceExpression("seed is not None", "__old__ and torch.cuda.is_available()")),
        imports=_HOST,
    ),
    Edit(
        name="cpu-initialization",
        symbol="get_model",
        why="Without CUDA, the model must be on the CPU. The run config keeps the requested value.",
        drop_when=_DROP,
        do=ReplaceStatement(
            """
            model_provider.use_cpu_initialization = bool(use_cpu_initialization)
            if not torch.cuda.is_available():
                override_for_host(model_provider, "use_cpu_initialization", True)
            """,
            assigns="model_provider.use_cpu_initialization",
            was="232121913469",
        ),
        imports=("from megatron.bridge.utils.host_compat import override_for_host",),
    ),
    Edit(
        name="without-transformer-engine",
        symbol="_create_model",
        why="A model that needs Transformer Engine is refused before any weight is read, with the command to install it.",
        drop_when="upstream refuses such a model with a clear error.",
        do=AddDecorator("@explain_missing_te"),
        imports=("from megatron.bridge.utils.te_requirements import explain_missing_te",),
    ),
    Edit(
        name="fits-to-host",
        symbol="_create_model",
        why="A build disables the features that the host lacks, and no other code changes the config.",
        drop_when="upstream builds models on any host.",
        do=AddDecorator("@adapt_to_host"),
        imports=("from megatron.bridge.utils.host_compat import adapt_to_host",),
    ),
    Edit(
        name="tied-without-cuda",
        symbol="_create_model",
        why="Megatron Core moves a tied embedding that pipeline stages share to a CUDA device.",
        drop_when="megatron-core builds tied models in pipeline stages without CUDA.",
        do=AddDecorator("@keep_on_cpu"),
        imports=("from megatron.bridge.utils.cpu_fallbacks import keep_on_cpu",),
    ),
)
