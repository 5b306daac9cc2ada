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

import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

from megatron.core.extensions import transformer_engine
from megatron.core.transformer import ModuleSpec

from megatron.bridge.utils.host import HAVE_TE, has_transformer_engine


# Config fields that Megatron Core's own modules cannot follow, with what they lack.
_BEYOND_OWN_MODULES = {
    "layernorm_zero_centered_gamma": "its norms add one to their weights",
    "multi_latent_attention": "its latent attention has heads of two sizes",
}


def require_transformer_engine(provider: Any) -> None:
    """Refuse a model that needs Transformer Engine on a host where it cannot be used.

    It is decided from the provider: from its fields, and from the modules that its layer specification names. A model
    that makes its specification elsewhere, as some with a vision tower do, passes.

    Args:
        provider: The model provider, finalized.

    Raises:
        RuntimeError: If the model needs Transformer Engine, and it is not installed or has no CUDA. One line: which
            model, why, and what to do.
    """
    if has_transformer_engine() or not (reason := _reason(provider)):
        return
    model = getattr(provider, "hf_model_id", None) or type(provider).__name__
    remedy = (
        "It is installed and needs CUDA: convert on a host with a GPU."
        if HAVE_TE
        else "Install it with: pip install 'megatron-bridge[te]'"
    )
    raise RuntimeError(f"{model} cannot be built without Transformer Engine: {reason}. {remedy}")


def _reason(provider: Any) -> str:
    """Return why a model needs Transformer Engine; empty where nothing says so."""
    for field, reason in _BEYOND_OWN_MODULES.items():
        if getattr(provider, field, False):
            return f"{reason} ({field})"
    spec = getattr(provider, "transformer_layer_spec", None)
    if spec is None:
        return ""
    if not isinstance(spec, ModuleSpec):
        try:
            spec = (
                spec(provider, vp_stage=None) if "vp_stage" in inspect.signature(spec).parameters else spec(provider)
            )
        except (ImportError, NameError, TypeError) as error:
            # Where Transformer Engine is missing, Megatron Core leaves the names of its modules undefined, or None.
            return f"its layers are specified with it ({error})"
    # What stands for a module of Transformer Engine where that is missing has no name of its own.
    names = {id(module): name for name, module in vars(transformer_engine).items() if name.startswith("TE")}
    named = next((names[id(module)] for module in _modules(spec) if module is not None and id(module) in names), "")
    return f"its layers are specified with it ({named})" if named else ""


def _modules(spec: Any) -> Iterator[Any]:
    """Yield every module that a layer specification names."""
    if isinstance(spec, partial):
        yield from _modules((spec.func, *spec.args, *spec.keywords.values()))
    elif isinstance(spec, dict):
        yield from _modules(tuple(spec.values()))
    elif isinstance(spec, list | tuple):
        for part in spec:
            yield from _modules(part)
    elif is_dataclass(spec) and not isinstance(spec, type):
        yield from _modules([getattr(spec, one.name) for one in fields(spec)])
    else:
        yield spec
