# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/model_provider.py."""

from patches.edit import Edit
from patches.operations import AddDecorator, ReplaceExpression, ReplaceStatement


TARGET = "megatron/bridge/models/model_provider.py"

_DEVICE = ReplaceExpression("torch.cuda.set_device(...)", "set_local_device()")
_BACKEND = ReplaceExpression('"nccl"', "distributed_backend()")
_HOST = ("from megatron.bridge.utils.cpu_fallbacks import distributed_backend, set_local_device",)
_WHY = "A host without CUDA has no device to set, and its process group is gloo's."
_DROP = "upstream's provider runs on a host without CUDA."

EDITS = (
    Edit(
        name="provide-without-cuda",
        symbol="ModelProviderMixin.provide_distributed_model",
        why=_WHY,
        drop_when=_DROP,
        do=(_DEVICE, _BACKEND),
        imports=_HOST,
        unused=("megatron.bridge.utils.common_utils.get_local_rank_preinit",),
    ),
    Edit(
        name="parallel-without-cuda",
        symbol="ModelProviderMixin.initialize_model_parallel",
        why=f"{_WHY} The seed is for CUDA generators.",
        drop_when=_DROP,
        do=(_DEVICE, _BACKEND, ReplaceExpression("seed is not None", "__old__ and torch.cuda.is_available()")),
        imports=_HOST,
        unused=("megatron.bridge.utils.common_utils.get_local_rank_preinit",),
    ),
    Edit(
        name="cpu-initialization",
        symbol="get_model",
        why="A host without CUDA can put a model on the CPU alone; the run config keeps what was asked for.",
        drop_when=_DROP,
        do=ReplaceStatement(
            """
            model_provider.use_cpu_initialization = bool(use_cpu_initialization)
            if not torch.cuda.is_available():
                switch(model_provider, "use_cpu_initialization", True)
            """,
            assigns="model_provider.use_cpu_initialization",
            was="232121913469",
        ),
        imports=("from megatron.bridge.utils.host_compat import switch",),
    ),
    Edit(
        name="without-transformer-engine",
        symbol="_create_model",
        why="A model that cannot do without Transformer Engine says so, and what to install, before any weight is read.",
        drop_when="upstream's models say so themselves.",
        do=AddDecorator("@explains_missing_transformer_engine"),
        imports=("from megatron.bridge.utils.te_requirements import explains_missing_transformer_engine",),
    ),
    Edit(
        name="fits-to-host",
        symbol="_create_model",
        why="What the host lacks is switched off when a model is built, and in no config that is not.",
        drop_when="upstream builds models on any host.",
        do=AddDecorator("@builds_on_this_host"),
        imports=("from megatron.bridge.utils.host_compat import builds_on_this_host",),
    ),
    Edit(
        name="tied-without-cuda",
        symbol="_create_model",
        why="Megatron Core moves a tied embedding to a CUDA device where pipeline stages share it.",
        drop_when="megatron-core builds tied models in pipeline stages without CUDA.",
        do=AddDecorator("@builds_without_cuda"),
        imports=("from megatron.bridge.utils.cpu_fallbacks import builds_without_cuda",),
    ),
)
