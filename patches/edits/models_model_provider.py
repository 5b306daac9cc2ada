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

"""Edits to upstream's models/model_provider.py."""

from patches.engine import (
    AddDecorator,
    Edit,
    ReplaceArgument,
    ReplaceCall,
    ReplaceImport,
    ReplaceStatement,
    ReplaceTest,
)


TARGET = "megatron/bridge/models/model_provider.py"

_DEVICE = ReplaceCall("torch.cuda.set_device", "set_local_device()")
_BACKEND = ReplaceArgument("torch.distributed.init_process_group", 0, "distributed_backend()")
_WHY = "A host without CUDA has no device to set, and its process group is gloo's."
_DROP = "upstream's provider runs on a host without CUDA."

EDITS = (
    Edit(
        name="provide-device",
        symbol="ModelProviderMixin.provide_distributed_model",
        why=_WHY,
        drop_when=_DROP,
        do=_DEVICE,
    ),
    Edit(
        name="provide-backend",
        symbol="ModelProviderMixin.provide_distributed_model",
        why=_WHY,
        drop_when=_DROP,
        do=_BACKEND,
    ),
    Edit(
        name="parallel-device",
        symbol="ModelProviderMixin.initialize_model_parallel",
        why=_WHY,
        drop_when=_DROP,
        do=_DEVICE,
    ),
    Edit(
        name="parallel-backend",
        symbol="ModelProviderMixin.initialize_model_parallel",
        why=_WHY,
        drop_when=_DROP,
        do=_BACKEND,
    ),
    Edit(
        name="parallel-seed",
        symbol="ModelProviderMixin.initialize_model_parallel",
        why="The seed is for CUDA generators.",
        drop_when=_DROP,
        do=ReplaceTest("seed is not None", "seed is not None and torch.cuda.is_available()"),
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
        ),
    ),
    Edit(
        name="without-transformer-engine",
        symbol="_create_model",
        why="A model that cannot do without Transformer Engine says so, and what to install, before any weight is read.",
        drop_when="upstream's models say so themselves.",
        do=AddDecorator("@explains_missing_transformer_engine"),
    ),
    Edit(
        name="tied-without-cuda",
        symbol="_create_model",
        why="Megatron Core moves a tied embedding to a CUDA device where pipeline stages share it.",
        drop_when="megatron-core builds tied models in pipeline stages without CUDA.",
        do=AddDecorator("@builds_without_cuda"),
    ),
    Edit(
        name="import-host",
        symbol="",
        why="Names used by the edits above; get_local_rank_preinit is used in there.",
        drop_when="the edits above are gone.",
        do=ReplaceImport(
            "megatron.bridge.utils.common_utils",
            """
            from megatron.bridge.utils.host import (
                builds_without_cuda,
                distributed_backend,
                explains_missing_transformer_engine,
                set_local_device,
                switch,
            )
            """,
        ),
    ),
)
