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

"""Lets a conversion run on a host without CUDA or without Transformer Engine.

What the host lacks is switched off in the model config while the model is built and used there. The
config remembers the model's own values, and `model_values` puts them back for everything that is
written to disk: a run config describes the model, never the host that converted it.
"""

import functools
import os
import queue
import traceback
from contextlib import contextmanager
from typing import Any, Callable, Iterator, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.extensions.transformer_engine import HAVE_TE

from megatron.bridge.utils.common_utils import get_local_rank_preinit
from megatron.bridge.utils.fusions import can_enable_gradient_accumulation_fusion


P = ParamSpec("P")
R = TypeVar("R")

# Config fields that need Transformer Engine or its modules, with what Megatron Core's own modules take.
_WITHOUT_TRANSFORMER_ENGINE = {
    "apply_rope_fusion": False,
    "masked_softmax_fusion": False,
    "memory_efficient_layer_norm": False,
    "moe_grouped_gemm": False,
    "moe_permute_fusion": False,
    "moe_router_fusion": False,
    "persist_layer_norm": False,
    "sequence_parallel": False,
    "tp_comm_overlap": False,
    "use_transformer_engine_op_fuser": False,
}

_ATTENTION_BACKENDS = ("NVTE_FLASH_ATTN", "NVTE_FUSED_ATTN", "NVTE_UNFUSED_ATTN")

# Config fields that need CUDA kernels, or compile one for the host at the first forward pass.
_WITHOUT_CUDA = {
    "apply_rope_fusion": False,
    "bias_activation_fusion": False,
    "bias_dropout_fusion": False,
    "gradient_accumulation_fusion": False,
    "masked_softmax_fusion": False,
    "moe_shared_expert_overlap": False,
    "moe_token_dispatcher_type": "allgather",
    "tp_comm_overlap": False,
}

_MODEL_VALUES = "_model_values_not_for_this_host"


def has_transformer_engine() -> bool:
    """Tell whether Transformer Engine can build modules here: it is installed, and there is CUDA for it."""
    return HAVE_TE and torch.cuda.is_available()


def distributed_backend() -> str:
    """Name the torch.distributed backend for this host: ``nccl`` with CUDA, else ``gloo``."""
    return "nccl" if torch.cuda.is_available() else "gloo"


def set_local_device() -> None:
    """Make the local rank's CUDA device the current one, where there is CUDA."""
    if torch.cuda.is_available():
        torch.cuda.set_device(get_local_rank_preinit())


def fit_to_host(config: Any) -> None:
    """Switch off in a model config what this host lacks, and remember the model's own values.

    Call it before Megatron Core validates the config, which refuses what it cannot run. Calling it
    again changes nothing.

    Args:
        config: Model config or provider, changed in place.
    """
    lacking: dict[str, Any] = {}
    if not has_transformer_engine():
        lacking |= _WITHOUT_TRANSFORMER_ENGINE
        spec = getattr(config, "transformer_layer_spec", None)
        if isinstance(spec, functools.partial) and "use_transformer_engine" in spec.keywords:
            # Bridges set the keyword by what their host has; a model has no opinion of its own on it.
            config.transformer_layer_spec = _spec_for(spec, use_transformer_engine=True)
            lacking["transformer_layer_spec"] = _spec_for(spec, use_transformer_engine=False)
    if torch.cuda.is_available():
        if getattr(config, "gradient_accumulation_fusion", False) and not can_enable_gradient_accumulation_fusion():
            lacking["gradient_accumulation_fusion"] = False
    else:
        lacking |= _WITHOUT_CUDA
        if getattr(config, "position_embedding_type", None) == "yarn":
            # Its table is computed on a device while the model is built. Neither holds a parameter, and without CUDA
            # neither is computed with.
            lacking["position_embedding_type"] = "rope"
    for field, value in lacking.items():
        if getattr(config, field, None):
            switch(config, field, value)


def _spec_for(spec: functools.partial, **keywords: bool) -> functools.partial:
    return functools.partial(spec.func, *spec.args, **spec.keywords | keywords)


def switch(config: Any, field: str, value: Any) -> None:
    """Set one field for this host and remember the model's own value of it.

    Args:
        config: Model config or provider, changed in place.
        field: Name of the field.
        value: The value for this host.
    """
    own_values = vars(config).setdefault(_MODEL_VALUES, {})
    own = getattr(config, field)
    if own == value:
        own_values.pop(field, None)
        return
    own_values[field] = (own, value)
    setattr(config, field, value)


@contextmanager
def model_values(config: Any) -> Iterator[None]:
    """Give a model config its own values back while it is written to disk.

    A field that has been set again since it was switched for the host keeps what it was set to.

    Args:
        config: Model config or provider.
    """
    own_values = vars(config).get(_MODEL_VALUES, {})
    switched = {field: own for field, (own, host) in own_values.items() if getattr(config, field) is host}
    host_values = {field: getattr(config, field) for field in switched}
    try:
        for field, value in switched.items():
            setattr(config, field, value)
        yield
    finally:
        for field, value in host_values.items():
            setattr(config, field, value)


def explains_missing_transformer_engine(build: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that builds a model so that a missing Transformer Engine is named.

    Args:
        build: The function. Its first argument is the model provider.

    Returns:
        The decorated function. It raises RuntimeError where ``build`` fails for want of Transformer Engine
        on a host that has none or no CUDA for it; any other error passes through.
    """

    @functools.wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return build(*args, **kwargs)
        except Exception as error:
            if has_transformer_engine() or not _is_for_want_of_transformer_engine(error):
                raise
            provider = args[0]
            model = getattr(provider, "hf_model_id", None) or type(provider).__name__
            remedy = (
                "It is installed and needs CUDA: convert on a host with a GPU."
                if HAVE_TE
                else "Install it with: pip install 'megatron-bridge[te]'"
            )
            raise RuntimeError(
                f"{model} cannot be built without Transformer Engine ({type(error).__name__}: {error}). {remedy}"
            ) from error

    return wrapper


def builds_without_cuda(build: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that builds a model so that a host without CUDA keeps a tied embedding where it is.

    Between pipeline stages Megatron Core moves it to a device first, and then sums it over the process group, which
    gloo does on the CPU.

    Args:
        build: The function.

    Returns:
        The decorated function. With CUDA, it is called as it is.
    """

    @functools.wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.cuda.is_available():
            return build(*args, **kwargs)
        with _replaced(torch.Tensor, "cuda", lambda self, *_, **__: self):
            return build(*args, **kwargs)

    return wrapper


def _is_for_want_of_transformer_engine(error: Exception) -> bool:
    """Tell whether Megatron Core's stand-ins for Transformer Engine, or its refusals, are behind an error."""
    text = str(error).lower()
    if "transformer engine" in text or "transformer_engine" in text or "transformerengine" in text:
        return True
    if "mlaselfattention" in text:
        # Megatron Core's own attention has one head size; multi-latent attention has two.
        return True
    frames = traceback.extract_tb(error.__traceback__)
    # Mock objects stand for Transformer Engine's classes in Megatron Core where it is missing.
    places = (
        "/transformer_engine.py",
        "/transformer_engine_spec_provider.py",
        "/torch_norm.py",
        "_specs.py",
        "/mock.py",
    )
    return frames[-1].filename.endswith(places)


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Let an attribute of torch's or of Megatron Core's be another one meanwhile."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@contextmanager
def attention_backend_forgotten() -> Iterator[None]:
    """Leave the environment as it is, in which Megatron Core notes a model's attention backend and refuses another's."""
    before = {name: os.environ.get(name) for name in _ATTENTION_BACKENDS}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def conversion_process_group() -> Iterator[None]:
    """Give the conversion of a process alone a process group of its own, and take it away afterwards.

    So the process is as it was, and an export or another import can follow. A process group that is
    there is used as it is. Under torchrun the model provider sets one up over its ranks, which stays:
    torch.distributed cannot set up a second one in the same rendezvous.
    """
    # model_load_save imports the model providers, which import this module.
    from megatron.bridge.training.model_load_save import temporary_distributed_context

    if dist.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        yield
    else:
        try:
            with attention_backend_forgotten(), temporary_distributed_context(backend="gloo"):
                yield
        except BaseException:
            # The context takes away what it has made whole; this, what was stopped half-way.
            parallel_state.destroy_model_parallel()
            if dist.is_initialized():
                dist.destroy_process_group()
            raise


@contextmanager
def checkpointing_without_cuda() -> Iterator[None]:
    """Let Megatron Core write and read torch_dist checkpoints on a host without CUDA.

    Its writer synchronizes with a device and puts a flag on it, and it hands its results over in a
    queue of another process, which it starts with *spawn*: a plain script that has no ``__main__``
    guard would run itself again. On such a host there is no device, and a synchronous save writes from
    threads of this process, for which a queue of this process serves. With CUDA this does nothing.
    """
    if torch.cuda.is_available():
        yield
        return
    with (
        _replaced(torch.cuda, "synchronize", lambda device=None: None),
        _replaced(torch.cuda, "current_device", lambda: "cpu"),
        _replaced(filesystem_async, "_results_queue", queue.Queue()),
    ):
        yield
