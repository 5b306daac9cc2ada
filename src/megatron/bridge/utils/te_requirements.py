# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Detects, before a model is built, that it needs Transformer Engine and that the host cannot use it."""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ParamSpec, TypeVar

import torch
from megatron.core.extensions.transformer_engine import HAVE_TE
from megatron.core.transformer import ModuleSpec

from megatron.bridge.release.compat.megatron_core_api import transformer_engine_modules
from megatron.bridge.release.errors import OptionFormat, ReleaseError


P = ParamSpec("P")
R = TypeVar("R")

# Config fields that Megatron Core's own modules do not support, with the reason.
_NEEDS_TE = {
    "layernorm_zero_centered_gamma": "its norms add one to their weights",
    "multi_latent_attention": "its attention heads have two sizes",
}


@dataclass(eq=False)
class TransformerEngineRequiredError(ReleaseError, RuntimeError):
    """A model needs Transformer Engine, which this host cannot use.

    Attributes:
        model: Name of the model.
        reason: What needs Transformer Engine.
        is_installed: Whether it is installed, and only CUDA is missing.
    """

    model: str
    reason: str
    is_installed: bool

    def text(self, option: OptionFormat) -> str:
        return f"{self.model} cannot be built without Transformer Engine: {self.reason}. {_hint(self.is_installed)}"


def has_transformer_engine() -> bool:
    """Return whether Transformer Engine is usable: it is installed, and CUDA is available."""
    return HAVE_TE and torch.cuda.is_available()


def explain_missing_te(build: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that builds a model from its first argument, a model provider.

    Without a usable Transformer Engine, it calls `check_te_available` first and adds a note to the build's own errors.
    """

    @functools.wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if has_transformer_engine():
            return build(*args, **kwargs)
        check_te_available(args[0])
        try:
            return build(*args, **kwargs)
        except Exception as error:
            error.add_note(
                f"Transformer Engine is not usable on this host; the model may need it. {te_install_hint()}"
            )
            raise

    return wrapper


def check_te_available(provider: Any) -> None:
    """Check that a model can be built on this host, from the fields and the layer specification of its provider.

    A model whose specification cannot be computed, or is outside the provider (some vision towers), passes.

    Args:
        provider: The model provider, finalized.

    Raises:
        TransformerEngineRequiredError: If the model needs Transformer Engine, and it is not installed or has no CUDA.
    """
    if has_transformer_engine() or not (reason := _reason(provider)):
        return
    model = getattr(provider, "hf_model_id", None) or type(provider).__name__
    raise TransformerEngineRequiredError(str(model), reason, HAVE_TE)


def te_install_hint() -> str:
    """Return how to make Transformer Engine usable."""
    return _hint(HAVE_TE)


def _hint(is_installed: bool) -> str:
    if is_installed:
        return "It is installed and needs CUDA: convert the model on a host with a GPU."
    # Without a local checkout, the extra of megatron-bridge would replace this package by upstream's.
    return "Install it with: pip install --no-build-isolation 'transformer-engine[core_cu13,pytorch]'"


def _reason(provider: Any) -> str:
    """Return why a model needs Transformer Engine, or an empty string."""
    for field, reason in _NEEDS_TE.items():
        if getattr(provider, field, False) is True:
            return f"{reason} ({field})"
    names = transformer_engine_modules()
    spec = _layer_spec(provider)
    named = next((names[id(module)] for module in _modules(spec) if module is not None and id(module) in names), "")
    return f"its layer specification uses {named}" if named else ""


def _layer_spec(provider: Any) -> Any:
    """Return a provider's layer specification; None if it has none or it cannot be computed."""
    spec = getattr(provider, "transformer_layer_spec", None)
    if not callable(spec) or isinstance(spec, ModuleSpec):
        return spec
    stage = 0 if getattr(provider, "virtual_pipeline_model_parallel_size", None) else None
    try:
        takes_stage = "vp_stage" in inspect.signature(spec).parameters
        return spec(provider, vp_stage=stage) if takes_stage else spec(provider)
    except Exception:
        # The build will raise the same error.
        return None


def _modules(spec: Any) -> Iterator[Any]:
    """Yield each module that a layer specification names, once. A specification may contain cycles."""
    # Keep references: the id() of a collected object can be reused.
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
            inner = [getattr(part, field.name) for field in fields(part)]
        else:
            yield part
            continue
        # Depth first, in the order of the specification: the last item is popped first.
        ahead += reversed(inner)
