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

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from safetensors import safe_open
from transformers import AutoTokenizer, PretrainedConfig

from megatron.bridge.models.conversion.names import grouped
from megatron.bridge.models.hf_pretrained.state import SafeTensorsStateSource
from megatron.bridge.training.release.accounting import Account, account_for_tensors
from megatron.bridge.training.release.config_fields import account_for_config
from megatron.bridge.training.release.headers import Header, read_headers
from megatron.bridge.training.release.meta_source import DTYPES, PLAIN
from megatron.bridge.utils.common_utils import warn_rank_0


_ROWS = 4096
# By bridge, what it was accounted for with and what came of it: a save does not do again what its import has done.
_ACCOUNTED: WeakKeyDictionary[Any, tuple[tuple[Any, ...], "Accounted"]] = WeakKeyDictionary()

_DTYPES_OF_RELEASES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Accounted:
    """A Hugging Face model that a release may be made of.

    Attributes:
        let_through: What the release will lack of it, a sentence each.
        headers: What its files say of each tensor; none of a config alone.
        account: What becomes of them.
    """

    let_through: tuple[str, ...]
    headers: Mapping[str, Header]
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
            value is not carried, or the tokenizer is missing or too large. One line, which names all of it.
        RuntimeError: If the model cannot be built here, for want of Transformer Engine or CUDA.
    """
    for keyword, given in {
        "allow_unused_tensors": allow_unused_tensors,
        "allow_config_fields": allow_config_fields,
    }.items():
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise ValueError(f"{keyword} takes a list of names, not {given!r}.")
    asked = (tuple(allow_unused_tensors), tuple(allow_config_fields), str(tokenizer_path))
    accounted = _ACCOUNTED.get(bridge)
    if accounted is not None and accounted[0] == asked:
        return accounted[1]
    has_weights = hasattr(bridge.hf_pretrained, "state")
    config = bridge.hf_pretrained.config if has_weights else bridge.hf_pretrained
    name = bridge.hf_pretrained.model_name_or_path if has_weights else config.name_or_path or "the model"
    fields = account_for_config(config, allow_config_fields)
    if fields.refused:
        raise ValueError(
            f"Megatron-LM would compute another function than {name}: {' '.join(fields.refused)} "
            "What may be lost can be named with allow_config_fields."
        )
    # Of a config alone, the weights are the caller's.
    headers = _headers(bridge.hf_pretrained.state.source) if has_weights else {}
    account = _account(bridge, name, headers, allow_unused_tensors) if has_weights else Account()
    if tokenizer_path is not None:
        keywords = _tokenizer_keywords(bridge) if tokenizer_kwargs is None else tokenizer_kwargs
        _check_tokenizer(tokenizer_path, keywords, config)
    let_through = []
    if fields.let_through:
        let_through.append(f"Megatron-LM computes another function than {name}: {' '.join(fields.let_through)}")
    if account.left_out:
        let_through.append(f"Tensors of {name} were left out: {grouped(account.left_out)}.")
    for text in let_through:
        warn_rank_0(text)
    if fields.unknown:
        warn_rank_0(f"Not known here, and perhaps not carried, of {name}'s config: {', '.join(fields.unknown)}")
    if not fields.proven:
        warn_rank_0(
            f"That Megatron-LM computes what the config of {name} says was not proven: "
            f"{config.model_type} is not among the families that are tried."
        )
    _ACCOUNTED[bridge] = asked, Accounted(tuple(let_through), headers, account)
    return _ACCOUNTED[bridge][1]


def _account(bridge: Any, name: str, headers: Mapping[str, Header], allow_unused_tensors: Sequence[str]) -> Account:
    """Account for the tensors of a model with weights, or refuse it."""
    source = bridge.hf_pretrained.state.source
    _settle_dtype(bridge.hf_pretrained, headers)
    account = account_for_tensors(bridge, headers, allow_unused_tensors)
    account.problems += _tied_problems(source, account, headers)
    if account.problems:
        raise ValueError(f"{name} cannot be imported as it is. {' '.join(account.problems)}")
    _say_what_is_rounded(bridge.hf_pretrained.config, account, headers)
    return account


def _headers(source: Any) -> dict[str, Header]:
    if isinstance(source, SafeTensorsStateSource):
        return read_headers(source.path)
    # A model in memory.
    words = {dtype: word for word, dtype in DTYPES.items()}
    tensors = source.load_tensors(source.get_all_keys())
    return {name: Header(words[tensor.dtype], tuple(tensor.shape), "memory") for name, tensor in tensors.items()}


def _settle_dtype(hf_pretrained: Any, headers: Mapping[str, Header]) -> None:
    """Let the config say the dtype that was asked for, else its own, else that of most of the weights."""
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
    if config.dtype is None:
        sizes: Counter[torch.dtype] = Counter()
        for header in headers.values():
            if (dtype := DTYPES.get(header.dtype)) in PLAIN:
                sizes[dtype] += torch.Size(header.shape).numel()
        if sizes:
            (most, _), *_ = sizes.most_common(1)
            config.dtype = torch.float32 if most is torch.float64 else most
    known = config.dtype if isinstance(config.dtype, torch.dtype) else getattr(torch, str(config.dtype), None)
    if known not in _DTYPES_OF_RELEASES:
        raise ValueError(
            f"The config of {hf_pretrained.model_name_or_path} asks for the dtype {config.dtype}, which no release can "
            "have. Let its dtype be bfloat16, float16 or float32."
        )
    config.dtype = known


def _tied_problems(source: Any, account: Account, headers: Mapping[str, Header]) -> list[str]:
    """Compare what the files hold of a tied output layer with the embedding, byte by byte, in the wider dtype."""
    problems = []
    for name, embedding in account.tied.items():
        one, other = headers[name], headers[embedding]
        if one.shape != other.shape or (one.dtype != other.dtype and not _are_plain(one, other)):
            equal = False
        elif isinstance(source, SafeTensorsStateSource):
            equal = _equal_rows(source.path, headers, name, embedding)
        else:
            tensors = source.load_tensors([name, embedding])
            equal = _are_equal(tensors[name], tensors[embedding])
        if not equal:
            problems.append(
                f"{name} differs from {embedding}, and the config says tie_word_embeddings: true, by which Megatron-LM "
                "has one for both. Let the config say false, or take the tensor that the model does not use away."
            )
    return problems


def _equal_rows(folder: Path, headers: Mapping[str, Header], one: str, other: str) -> bool:
    with (
        safe_open(folder / headers[one].file, framework="pt") as first,
        safe_open(folder / headers[other].file, framework="pt") as second,
    ):
        if not headers[one].shape:
            return _are_equal(first.get_tensor(one), second.get_tensor(other))
        slices = first.get_slice(one), second.get_slice(other)
        for row in range(0, headers[one].shape[0], _ROWS):
            if not _are_equal(*(part[row : row + _ROWS] for part in slices)):
                return False
    return True


def _are_plain(*headers: Header) -> bool:
    return all(DTYPES.get(header.dtype) in PLAIN for header in headers)


def _are_equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.dtype != other.dtype:
        wider = torch.promote_types(one.dtype, other.dtype)
        one, other = one.to(wider), other.to(wider)
    return torch.equal(*(tensor.reshape(-1).contiguous().view(torch.uint8) for tensor in (one, other)))


def _tokenizer_keywords(bridge: Any) -> dict[str, Any]:
    own: dict[str, Any] = getattr(bridge._model_bridge, "get_hf_tokenizer_kwargs", dict)() or {}
    given = {
        "revision": bridge.hf_model_revision,
        "trust_remote_code": getattr(bridge.hf_pretrained, "trust_remote_code", None),
    }
    return {name: value for name, value in given.items() if value} | own


def _check_tokenizer(path: str | Path, keywords: Mapping[str, Any], config: Any) -> None:
    rows = config.get_text_config().vocab_size
    # First as the file has it: transformers counts up to a token of a great number, which takes minutes.
    largest, kind = _largest_written_token(Path(path) / "tokenizer.json"), "tokenizer"
    if largest < rows:
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, **keywords)
            vocabulary = tokenizer.get_vocab()
            last = max(vocabulary, key=vocabulary.__getitem__, default="")
            # transformers' class of a family may add tokens of its own.
            largest, kind = vocabulary.get(last, -1), f"{type(tokenizer).__name__}, with {last!r} the last token,"
        except Exception as error:
            # transformers raises many kinds, some with advice on packages that have nothing to do with it.
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"{path} has no tokenizer that transformers can load ({reason}). Put the model's tokenizer files "
                "(tokenizer.json, tokenizer_config.json, ...) there."
            ) from error
    if largest >= rows:
        raise ValueError(
            f"The {kind} of {path} goes up to the ID {largest}, and the embedding has {rows} rows, 0 to {rows - 1}. Take "
            "that tokenizer which the model was made with, or enlarge the embedding with transformers' "
            "resize_token_embeddings first."
        )


def _largest_written_token(file: Path) -> int:
    """Read the largest token of a vocabulary; -1 where the file does not say."""
    try:
        tokens = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"].values()
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        # Another kind of tokenizer; or a damaged file, of which transformers tells.
        return -1
    return max((token for token in tokens if isinstance(token, int)), default=-1)


def _say_what_is_rounded(config: Any, account: Account, headers: Mapping[str, Header]) -> None:
    wider = {
        torch.float32: ("F64",),
        torch.bfloat16: ("F64", "F32", "F16"),
        torch.float16: ("F64", "F32", "BF16"),
    }[config.dtype]
    counts = Counter(headers[name].dtype for name in account.used if headers[name].dtype in wider)
    if counts:
        told = " and ".join(
            f"{count} of {len(account.used)} tensors are {DTYPES[dtype]}" for dtype, count in counts.items()
        )
        text = f"{told}: they are rounded to {config.dtype}, as the config says.".replace("torch.", "")
        warn_rank_0(text)
