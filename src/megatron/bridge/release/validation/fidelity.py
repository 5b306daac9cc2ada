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

"""Sees to it that a release holds the Hugging Face model, all of it, as Megatron-LM will compute it, or none is made."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import PretrainedConfig

from megatron.bridge.models.hf_pretrained.state import SafeTensorsStateSource
from megatron.bridge.release.errors import OptionError, warn
from megatron.bridge.release.source.dtypes import FLOAT_DTYPES, TORCH_DTYPES
from megatron.bridge.release.source.safetensors_index import TensorInfo, read_index, require_matches
from megatron.bridge.release.text import summarize_names
from megatron.bridge.release.validation.config import Fields, account_for_config
from megatron.bridge.release.validation.tensors import Account, account_for_tensors
from megatron.bridge.release.validation.tied_output import tied_problems
from megatron.bridge.release.validation.tokenizer import check_tokenizer, tokenizer_keywords


# By bridge, what it was checked with, its config included, and the result: a save does not repeat its import's check.
_ACCOUNTED: WeakKeyDictionary[Any, tuple[tuple[Any, ...], "Accounted"]] = WeakKeyDictionary()

_DTYPES_OF_RELEASES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Accounted:
    """A Hugging Face model that was checked and can be imported.

    Attributes:
        waived: Differences from it that the caller allowed, a sentence each.
        headers: What its files say of each tensor; none of a config alone.
        account: How each tensor is converted.
    """

    waived: tuple[str, ...]
    headers: Mapping[str, TensorInfo]
    account: Account


def require_faithful(
    bridge: Any,
    allow_unused_tensors: Sequence[str] = (),
    allow_config_fields: Sequence[str] = (),
    tokenizer_path: str | Path | None = None,
    tokenizer_kwargs: Mapping[str, Any] | None = None,
) -> Accounted:
    """Account for a Hugging Face model, tensor by tensor and field by field, before any weight is read.

    Only the files' headers are read, and a tied output layer where the files hold one; of a bridge of a config alone,
    the config. Where the config names no dtype, it gets that of the weights. Works in any process, whatever its process
    groups, and is not collective.

    Args:
        bridge: The `AutoBridge` of the model.
        allow_unused_tensors: Patterns, as of `fnmatch`, of tensors that may be left out.
        allow_config_fields: Names of the config's fields whose values may be lost: each is a warning then.
        tokenizer_path: Where the tokenizer is; None where none is wanted.
        tokenizer_kwargs: Keywords for its loading; the bridge's own where None.

    Returns:
        The account, and what the caller lets through.

    Raises:
        ValueError: If the release would not be the model: a tensor is missing, unused or of another shape, a field's
            value is not carried, or the tokenizer is missing or too large. One line, which names all of it. If a pattern
            matches no tensor of the model.
        RuntimeError: If the model cannot be built here, for want of Transformer Engine or CUDA.
    """
    _require_lists(allow_unused_tensors=allow_unused_tensors, allow_config_fields=allow_config_fields)
    has_weights = hasattr(bridge.hf_pretrained, "state")
    config = bridge.hf_pretrained.config if has_weights else bridge.hf_pretrained
    if tokenizer_path is not None and tokenizer_kwargs is None:
        tokenizer_kwargs = tokenizer_keywords(bridge)
    asked = (list(allow_unused_tensors), list(allow_config_fields), str(tokenizer_path), dict(tokenizer_kwargs or {}))
    accounted = _ACCOUNTED.get(bridge)
    if accounted is not None and accounted[0] == (*asked, config.to_dict()):
        return accounted[1]
    name = bridge.hf_pretrained.model_name_or_path if has_weights else config.name_or_path or "the model"
    if bridge.source_model is not None:
        name = bridge.source_model.name
    fields = account_for_config(config, allow_config_fields)
    # A bridge of a config has no files: the weights are the caller's.
    headers = _headers(bridge.hf_pretrained.state.source) if has_weights else {}
    require_matches(allow_unused_tensors, headers)
    try:
        account = _account(bridge, name, headers, allow_unused_tensors) if has_weights else Account()
    except (ValueError, RuntimeError) as error:
        if fields.refused:
            # To ignore the fields would only lead to this error.
            raise ValueError(f"{_refusal(name, fields)} {error}") from error
        raise
    if fields.refused:
        raise OptionError(
            _refusal(name, fields), "allow_config_fields", "To ignore the value of a field, pass {option}."
        )
    if has_weights:
        _warn_of_rounding(config, account, headers)
    if tokenizer_path is not None:
        check_tokenizer(tokenizer_path, tokenizer_kwargs or {}, config)
    waived = _warn_of_what_is_lost(name, config, fields, account)
    _ACCOUNTED[bridge] = (*asked, config.to_dict()), Accounted(waived, headers, account)
    return _ACCOUNTED[bridge][1]


def _refusal(name: str, fields: Fields) -> str:
    return f"Megatron-LM would compute another function than {name}: {' '.join(fields.refused)}"


def _require_lists(**keywords: Any) -> None:
    for keyword, given in keywords.items():
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise ValueError(f"{keyword} takes a list of names, not {given!r}.")


def _warn_of_what_is_lost(name: str, config: Any, fields: Fields, account: Account) -> tuple[str, ...]:
    """Warn of what the caller lets through and of what is not proven; return what is let through."""
    waived = []
    if fields.waived:
        waived.append(f"Megatron-LM computes another function than {name}: {' '.join(fields.waived)}")
    if account.left_out:
        waived.append(f"Tensors of {name} were left out: {summarize_names(account.left_out)}.")
    for text in waived:
        warn(text)
    if fields.unknown:
        warn(f"Unknown fields of the config of {name}, which the release may not support: {', '.join(fields.unknown)}")
    if not fields.proven:
        warn(f"No logit check covers the config of {name}: {config.model_type} is not a tested family.")
    return tuple(waived)


def _account(
    bridge: Any, name: str, headers: Mapping[str, TensorInfo], allow_unused_tensors: Sequence[str]
) -> Account:
    """Account for the tensors of a model with weights, or refuse it."""
    source = bridge.hf_pretrained.state.source
    settle_dtype(bridge.hf_pretrained, headers)
    account = account_for_tensors(bridge, headers, allow_unused_tensors)
    account.problems += tied_problems(source, account, headers)
    if account.problems:
        text = f"{name} cannot be imported as it is. {' '.join(account.problems)}"
        if account.unused and len(account.problems) == 1:
            raise OptionError(text, "allow_unused_tensors", "To skip tensors, pass {option}.")
        raise ValueError(text)
    return account


def _headers(source: Any) -> dict[str, TensorInfo]:
    if isinstance(source, SafeTensorsStateSource):
        return read_index(source.path)
    # A model in memory.
    words = {dtype: word for word, dtype in TORCH_DTYPES.items()}
    tensors = source.load_tensors(source.get_all_keys())
    return {name: TensorInfo(words[tensor.dtype], tuple(tensor.shape), "memory") for name, tensor in tensors.items()}


def settle_dtype(hf_pretrained: Any, headers: Mapping[str, TensorInfo]) -> None:
    """Set the dtype of the config, and of those in it, to the one asked for, else its own, else that of most weights."""
    config = hf_pretrained.config
    asked = getattr(hf_pretrained, "torch_dtype", None)
    if isinstance(asked, torch.dtype):
        config.dtype = asked
    elif config.dtype == "auto":
        # A keyword that stands for what is taken without it, and has put itself in the config's place.
        own, _ = PretrainedConfig.get_config_dict(
            hf_pretrained.model_name_or_path, revision=hf_pretrained.init_kwargs.get("revision")
        )
        config.dtype = own.get("dtype", own.get("torch_dtype"))
    if config.dtype is None and config.get_text_config() is not config:
        config.dtype = config.get_text_config().dtype
    if config.dtype is None:
        sizes: Counter[torch.dtype] = Counter()
        for header in headers.values():
            if (dtype := TORCH_DTYPES.get(header.dtype)) in FLOAT_DTYPES:
                sizes[dtype] += torch.Size(header.shape).numel()
        if sizes:
            (most, _), *_ = sizes.most_common(1)
            config.dtype = torch.float32 if most is torch.float64 else most
    known = config.dtype if isinstance(config.dtype, torch.dtype) else getattr(torch, str(config.dtype), None)
    if known not in _DTYPES_OF_RELEASES:
        raise ValueError(
            f"The config of {hf_pretrained.model_name_or_path} has the dtype {config.dtype}, which releases do not "
            "support. Set it to bfloat16, float16 or float32."
        )
    _set_dtype(config, known)


def _set_dtype(config: Any, dtype: torch.dtype) -> None:
    config.dtype = dtype
    # Bridges of vision-language models read the dtype of the text model's config, where it may be missing.
    for name in getattr(config, "sub_configs", ()):
        if (inner := getattr(config, name, None)) is not None:
            _set_dtype(inner, dtype)


def _warn_of_rounding(config: Any, account: Account, headers: Mapping[str, TensorInfo]) -> None:
    wider = {
        torch.float32: ("F64",),
        torch.bfloat16: ("F64", "F32", "F16"),
        torch.float16: ("F64", "F32", "BF16"),
    }[config.dtype]
    counts = Counter(headers[name].dtype for name in account.used if headers[name].dtype in wider)
    if counts:
        counted = " and ".join(
            f"{count} of {len(account.used)} tensors are {TORCH_DTYPES[dtype]}" for dtype, count in counts.items()
        )
        text = f"{counted}: cast to {config.dtype}, the dtype of the release.".replace("torch.", "")
        warn(text)
