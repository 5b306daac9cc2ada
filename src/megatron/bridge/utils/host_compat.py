# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Disables features of a model config that the host lacks, and restores them in what is written to disk.

The config from which a model is built and used has the host's values. It also keeps the model's values, in all of its
copies. `restore_model_values` returns a config with those: a run config describes the model, not the host.
"""

import copy
import functools
import importlib.util
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch

from megatron.bridge.utils.fusions import can_enable_gradient_accumulation_fusion
from megatron.bridge.utils.te_requirements import has_stand_in, has_transformer_engine


P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# Config fields that need kernels of Transformer Engine, which its stand-in lacks.
_WITHOUT_KERNELS = {
    "apply_rope_fusion": False,
    "masked_softmax_fusion": False,
    "moe_permute_fusion": False,
    "moe_router_fusion": False,
    "tp_comm_overlap": False,
    "use_transformer_engine_full_layer_spec": False,
    "use_transformer_engine_op_fuser": False,
}

# Config fields that need Transformer Engine, with the values that Megatron Core's own modules support.
_WITHOUT_TRANSFORMER_ENGINE = _WITHOUT_KERNELS | {
    "memory_efficient_layer_norm": False,
    "moe_grouped_gemm": False,
    "persist_layer_norm": False,
}

# Config fields that need CUDA kernels, or compile one for the host at the first forward pass.
_WITHOUT_CUDA = {
    "apply_rope_fusion": False,
    "bias_activation_fusion": False,
    "bias_dropout_fusion": False,
    "masked_softmax_fusion": False,
    "moe_shared_expert_overlap": False,
    "moe_token_dispatcher_type": "allgather",
    # Megatron Core's own norms refuse it. On a host with CUDA, which may train, the caller has to disable it.
    "sequence_parallel": False,
    "tp_comm_overlap": False,
}

# Fields of these that Megatron Core may refuse when it validates a config, before a model is built: fusions of
# Transformer Engine, and bias fusions, which it supports for some activations only.
_REFUSED_WITHOUT_TRANSFORMER_ENGINE = ("apply_rope_fusion", "moe_permute_fusion")
_REFUSED_WITHOUT_CUDA = ("bias_activation_fusion",)

# Attribute of a config, declared by Bridge's `TransformerConfig`: maps each overridden field to the model's value and the
# host's. Serialization skips names that begin with an underscore.
_HOST_VALUES = "_host_values"


def disable_refused(config: Any) -> None:
    """Disable the fields that Megatron Core refuses on this host when it validates a config, in place."""
    if has_stand_in() or not has_transformer_engine():
        _override_all(config, dict.fromkeys(_REFUSED_WITHOUT_TRANSFORMER_ENGINE, False))
    if not torch.cuda.is_available():
        _override_all(config, dict.fromkeys(_REFUSED_WITHOUT_CUDA, False))


def disable_unsupported(config: Any) -> None:
    """Disable the features of a model config that this host lacks, in place. Idempotent. Call it before the build."""
    overrides: dict[str, Any] = {}
    if has_stand_in():
        overrides |= _WITHOUT_KERNELS
    if not has_transformer_engine():
        overrides |= _WITHOUT_TRANSFORMER_ENGINE
    if not (torch.cuda.is_available() and _can_fuse_gradient_accumulation(config)):
        if _takes_fusion_from_host(config):
            config.gradient_accumulation_fusion = True
        overrides["gradient_accumulation_fusion"] = False
    if not torch.cuda.is_available():
        overrides |= _WITHOUT_CUDA
        if getattr(config, "position_embedding_type", None) == "yarn":
            # The build computes yarn's table from fields that may be None. Neither embedding has parameters, and without
            # CUDA the model is not run.
            overrides["position_embedding_type"] = "rope"
    _override_all(config, overrides)


def adapt_to_host(build: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that builds a model from its first argument, a provider: disable unsupported features first."""

    @functools.wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        disable_unsupported(args[0])
        return build(*args, **kwargs)

    return wrapper


def _override_all(config: Any, overrides: dict[str, Any]) -> None:
    for field, value in overrides.items():
        # A field that already has the host's value may be overridden already: keep the model's value.
        if (current := getattr(config, field, None)) and current != value:
            override_for_host(config, field, value)


def _can_fuse_gradient_accumulation(config: Any) -> bool:
    """Return whether this host can fuse gradient accumulation into the model's linear layers."""
    if hasattr(config, "share_embeddings_and_output_weights"):
        # A language model's output layer is Megatron Core's own, which needs APEX's kernel.
        return importlib.util.find_spec("fused_weight_gradient_mlp_cuda") is not None
    return can_enable_gradient_accumulation_fusion()


def _takes_fusion_from_host(config: Any) -> bool:
    """Return whether gradient accumulation fusion is off only because its default depends on the host."""
    field = getattr(type(config), "__dataclass_fields__", {}).get("gradient_accumulation_fusion")
    return (
        field is not None
        and field.default_factory is can_enable_gradient_accumulation_fusion
        and not config.gradient_accumulation_fusion
        and "gradient_accumulation_fusion" not in (vars(config).get(_HOST_VALUES) or {})
    )


def override_for_host(config: Any, field: str, value: Any) -> None:
    """Set a field of a model config for this host, in place, and keep the model's value."""
    # Copied, because shallow copies of the config share the dict.
    overridden = dict(vars(config).get(_HOST_VALUES) or {})
    current = getattr(config, field)
    if current == value:
        overridden.pop(field, None)
    else:
        overridden[field] = (current, value)
        setattr(config, field, value)
    vars(config)[_HOST_VALUES] = overridden


def restore_model_values(config: T) -> T:
    """Return a model config with the model's values instead of this host's, for writing it to disk.

    A field that was set after it was overridden keeps its new value.

    Args:
        config: Model config, provider, or any other value.

    Returns:
        The value itself if no field is overridden, else a shallow copy.
    """
    # Not getattr: objects of any class come here.
    overridden = getattr(config, "__dict__", {}).get(_HOST_VALUES)
    if not overridden:
        return config
    restored = copy.copy(config)
    for field, (model_value, host_value) in overridden.items():
        if getattr(config, field) == host_value:
            # Not setattr: a distillation config forwards it to its teacher's config.
            vars(restored)[field] = model_value
    del vars(restored)[_HOST_VALUES]
    return restored
