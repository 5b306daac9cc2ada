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

"""Fits a model config to the host that converts it.

What the host lacks, CUDA or Transformer Engine, is switched off in the config from which the model is built and used
there. It keeps the model's own values beside the host's, wherever it is copied, and `restore_model_values` returns a
config with them for everything that is written to disk: a run config describes the model, never the host that
converted it.
"""

import copy
import functools
import importlib.util
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

from megatron.bridge.utils.fusions import can_enable_gradient_accumulation_fusion
from megatron.bridge.utils.te_requirements import has_transformer_engine


P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# Config fields that need Transformer Engine or its modules, with what Megatron Core's own modules take.
_WITHOUT_TRANSFORMER_ENGINE = {
    "apply_rope_fusion": False,
    "masked_softmax_fusion": False,
    "memory_efficient_layer_norm": False,
    "moe_grouped_gemm": False,
    "moe_permute_fusion": False,
    "moe_router_fusion": False,
    "persist_layer_norm": False,
    "tp_comm_overlap": False,
    "use_transformer_engine_full_layer_spec": False,
    "use_transformer_engine_op_fuser": False,
}

# Config fields that need CUDA kernels, or compile one for the host at the first forward pass.
_WITHOUT_CUDA = {
    "apply_rope_fusion": False,
    "bias_activation_fusion": False,
    "bias_dropout_fusion": False,
    "masked_softmax_fusion": False,
    "moe_shared_expert_overlap": False,
    "moe_token_dispatcher_type": "allgather",
    # Megatron Core's own norms refuse it. A host with CUDA may train, where it is for the caller to switch off.
    "sequence_parallel": False,
    "tp_comm_overlap": False,
}

# Of these, what Megatron Core may refuse in a config, before a model is built: fusions that Transformer Engine has, and
# those of biases, which it knows for some activations alone.
_REFUSED_WITHOUT_TRANSFORMER_ENGINE = ("apply_rope_fusion", "moe_permute_fusion")
_REFUSED_WITHOUT_CUDA = ("bias_activation_fusion",)

# The attribute of a config, declared by Bridge's `TransformerConfig`, that has the fields which were switched, each with
# the model's own value and the host's. Serialization leaves out names that begin with an underscore.
_HOST_VALUES = "_host_values"


def switch_off_what_is_refused(config: Any) -> None:
    """Switch off in a model config what Megatron Core refuses on this host, where it validates the config.

    Args:
        config: Model config or provider, changed in place.
    """
    if not has_transformer_engine():
        _switch_all(config, dict.fromkeys(_REFUSED_WITHOUT_TRANSFORMER_ENGINE, False))
    if not torch.cuda.is_available():
        _switch_all(config, dict.fromkeys(_REFUSED_WITHOUT_CUDA, False))


def fit_to_host(config: Any) -> None:
    """Switch off in a model config what this host lacks, and remember the model's own values.

    Call it before the model is built. Calling it again changes nothing.

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
    if not (torch.cuda.is_available() and _can_fuse_gradient_accumulation(config)):
        if _takes_fusion_from_host(config):
            config.gradient_accumulation_fusion = True
        lacking["gradient_accumulation_fusion"] = False
    if not torch.cuda.is_available():
        lacking |= _WITHOUT_CUDA
        if getattr(config, "position_embedding_type", None) == "yarn":
            # Its table is computed on a device while the model is built. Neither holds a parameter, and without CUDA
            # neither is computed with.
            lacking["position_embedding_type"] = "rope"
    _switch_all(config, lacking)


def builds_on_this_host(build: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that builds a model so that the model is fitted to the host first.

    Args:
        build: The function. Its first argument is the model provider.

    Returns:
        The decorated function.
    """

    @functools.wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        fit_to_host(args[0])
        return build(*args, **kwargs)

    return wrapper


def _switch_all(config: Any, lacking: dict[str, Any]) -> None:
    for field, value in lacking.items():
        # A value that is the host's already may have been switched before, and stays remembered.
        if (own := getattr(config, field, None)) and own != value:
            switch(config, field, value)


def _can_fuse_gradient_accumulation(config: Any) -> bool:
    """Return whether a model can be built here with gradient accumulation fused into its linear layers."""
    if hasattr(config, "share_embeddings_and_output_weights"):
        # The output layer of a language model is Megatron Core's own, which requires APEX's kernel and raises without it.
        return importlib.util.find_spec("fused_weight_gradient_mlp_cuda") is not None
    return can_enable_gradient_accumulation_fusion()


def _takes_fusion_from_host(config: Any) -> bool:
    """Return whether a config's fusion of gradient accumulation is off because its class asked the host for a default."""
    field = getattr(type(config), "__dataclass_fields__", {}).get("gradient_accumulation_fusion")
    return (
        field is not None
        and field.default_factory is can_enable_gradient_accumulation_fusion
        and not config.gradient_accumulation_fusion
        and "gradient_accumulation_fusion" not in (vars(config).get(_HOST_VALUES) or {})
    )


def _spec_for(spec: functools.partial[Any], **keywords: bool) -> functools.partial[Any]:
    return functools.partial(spec.func, *spec.args, **spec.keywords | keywords)


def switch(config: Any, field: str, value: Any) -> None:
    """Set one field for this host and remember the model's own value of it.

    Args:
        config: Model config or provider, changed in place.
        field: Name of the field.
        value: The value for this host.
    """
    # A new one each time: a shallow copy of the config shares it.
    switched = dict(vars(config).get(_HOST_VALUES) or {})
    own = getattr(config, field)
    if own == value:
        switched.pop(field, None)
    else:
        switched[field] = (own, value)
        setattr(config, field, value)
    vars(config)[_HOST_VALUES] = switched


def restore_model_values(config: T) -> T:
    """Return a model config as it is written to disk: with the model's own values, not this host's.

    A field that has been set again since it was switched for the host keeps what it was set to.

    Args:
        config: Model config or provider, or any other value.

    Returns:
        What was given where nothing of it was switched, else a shallow copy.
    """
    # Through its own attributes alone: a value may be of any class.
    switched = getattr(config, "__dict__", {}).get(_HOST_VALUES)
    if not switched:
        return config
    written = copy.copy(config)
    for field, (own, host) in switched.items():
        if getattr(config, field) == host:
            # A distillation's config hands what is set on it to its teacher's.
            vars(written)[field] = own
    del vars(written)[_HOST_VALUES]
    return written
