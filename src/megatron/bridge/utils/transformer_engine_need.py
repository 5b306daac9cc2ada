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

"""Finds, before a model is built, that it needs Transformer Engine and that the host has none."""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, ParamSpec, TypeVar

import torch
from megatron.core.extensions import transformer_engine
from megatron.core.extensions.transformer_engine import HAVE_TE
from megatron.core.transformer import ModuleSpec


P = ParamSpec("P")
R = TypeVar("R")

# Config fields that Megatron Core's own modules cannot follow, with what they lack.
_BEYOND_OWN_MODULES = {
    "layernorm_zero_centered_gamma": "its norms add one to their weights",
    "multi_latent_attention": "its latent attention has heads of two sizes",
}


class NeedsTransformerEngine(RuntimeError):
    """A model cannot be built on this host, for want of Transformer Engine."""


def has_transformer_engine() -> bool:
    """Return whether Transformer Engine can build modules here: it is installed, and there is CUDA for it."""
    return HAVE_TE and torch.cuda.is_available()


def explains_missing_transformer_engine(build: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that builds a model so that a missing Transformer Engine is named.

    Args:
        build: The function. Its first argument is the model provider.

    Returns:
        The decorated function. On a host where Transformer Engine cannot be used, it refuses what
        `require_transformer_engine` refuses, and adds a note to whatever else the build raises.
    """

    @functools.wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if has_transformer_engine():
            return build(*args, **kwargs)
        require_transformer_engine(args[0])
        try:
            return build(*args, **kwargs)
        except Exception as error:
            error.add_note(f"Transformer Engine cannot be used here, and the model may need it. {remedy()}")
            raise

    return wrapper


def require_transformer_engine(provider: Any) -> None:
    """Refuse a model that needs Transformer Engine on a host where it cannot be used.

    It is decided from the provider: from its fields, and from the modules that its layer specification names. A model
    whose specification is made elsewhere, as those of some vision towers are, or cannot be made, passes.

    Args:
        provider: The model provider, finalized.

    Raises:
        NeedsTransformerEngine: If the model needs Transformer Engine, and it is not installed or has no CUDA. One line: which
            model, why, and what to do.
    """
    if has_transformer_engine() or not (reason := _reason(provider)):
        return
    model = getattr(provider, "hf_model_id", None) or type(provider).__name__
    raise NeedsTransformerEngine(f"{model} cannot be built without Transformer Engine: {reason}. {remedy()}")


def remedy() -> str:
    """Return what to do where Transformer Engine cannot be used."""
    if HAVE_TE:
        return "It is installed and needs CUDA: convert on a host with a GPU."
    # Without a local checkout, the extra of megatron-bridge would replace this package by upstream's.
    return "Install it with: pip install --no-build-isolation 'transformer-engine[core_cu13,pytorch]'"


def _reason(provider: Any) -> str:
    """Return why a model needs Transformer Engine; empty where nothing says so."""
    for field, reason in _BEYOND_OWN_MODULES.items():
        if getattr(provider, field, False) is True:
            return f"{reason} ({field})"
    # What stands for a module of Transformer Engine where that is missing has no name of its own.
    names = {id(module): name for name, module in vars(transformer_engine).items() if name.startswith("TE")}
    spec = _layer_spec(provider)
    named = next((names[id(module)] for module in _modules(spec) if module is not None and id(module) in names), "")
    return f"its layers are specified with it ({named})" if named else ""


def _layer_spec(provider: Any) -> Any:
    """Return a provider's layer specification; None where it has none, or none can be made."""
    spec = getattr(provider, "transformer_layer_spec", None)
    if not callable(spec) or isinstance(spec, ModuleSpec):
        return spec
    stage = 0 if getattr(provider, "virtual_pipeline_model_parallel_size", None) else None
    try:
        takes_stage = "vp_stage" in inspect.signature(spec).parameters
        return spec(provider, vp_stage=stage) if takes_stage else spec(provider)
    except Exception:
        # Whatever it is, the build makes it again, and raises it.
        return None


def _modules(spec: Any) -> Iterator[Any]:
    """Yield every module that a layer specification names, once; the specification may lead back to itself."""
    # With the parts themselves: the id of one that is gone may be another's.
    seen: dict[int, Any] = {}
    ahead = [spec]
    while ahead:
        part = ahead.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        if isinstance(part, functools.partial):
            inner = [part.func, *part.args, *part.keywords.values()]
        elif isinstance(part, dict):
            inner = list(part.values())
        elif isinstance(part, list | tuple):
            inner = list(part)
        elif is_dataclass(part) and not isinstance(part, type):
            inner = [getattr(part, one.name) for one in fields(part)]
        else:
            yield part
            continue
        # The last is popped first, and what is named first is to come first.
        ahead += reversed(inner)
