# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Checks that the tokenizer of a model loads, and that each of its tokens has a row in the embedding."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from megatron.bridge.release.compat.bridge_api import architecture_bridge
from megatron.bridge.release.compat.transformers_api import TokenizersBackend, cached_file
from megatron.bridge.release.errors import warn
from megatron.bridge.release.source.hub import TOKENIZER_KEYWORDS
from megatron.bridge.release.validation.errors import TokenizerClassWarning, TokenizerError, TokenizerSizeError


# Texts on which the normalizers and pre-tokenizers of model families differ.
_PROBES = (
    "It's 12345 tokens, don't you know?",
    "  two\n\n\tdef f(x_1): return x**2",
    "e\u0301\u00e9 \u65e5\u672c\u8a9e \U0001f600",
)


def tokenizer_keywords(bridge: Any) -> dict[str, Any]:
    """Return the keywords of `AutoTokenizer.from_pretrained` with which a bridge loads its tokenizer."""
    from_family: dict[str, Any] = getattr(architecture_bridge(bridge), "get_hf_tokenizer_kwargs", dict)() or {}
    from_caller = {
        "revision": bridge.hf_model_revision,
        "trust_remote_code": getattr(bridge.hf_pretrained, "trust_remote_code", None),
    }
    return {name: value for name, value in from_caller.items() if value} | from_family


def check_tokenizer(path: str | Path, keywords: Mapping[str, Any], config: Any) -> None:
    """Check a tokenizer, and warn if transformers tokenizes differently from its file.

    Args:
        path: Model ID, or directory of the tokenizer.
        keywords: Keywords for loading it.
        config: The Hugging Face config of the model.

    Raises:
        TokenizerError: If it does not load, or has only special tokens.
        TokenizerSizeError: If a token has no row in the embedding.
    """
    rows = config.get_text_config().vocab_size
    # Read the file first: for a very large token ID, transformers counts for minutes.
    file = _find_tokenizer_json(path, keywords)
    largest, token, different_class = _largest_id_in_file(file), None, None
    if largest < rows:
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, **keywords)
            vocabulary = tokenizer.get_vocab()
            # As Megatron Core's tokenizer class does.
            tokenizer.tokenize("x y")
            if vocabulary.keys() <= set(tokenizer.all_special_tokens):
                # The classes of some families load without files.
                raise ValueError(f"{type(tokenizer).__name__} has only special tokens")
            if file is not None and _tokenizes_differently(file, tokenizer):
                different_class = type(tokenizer).__name__
            last = max(vocabulary, key=vocabulary.__getitem__, default="")
            # The class of a family may add tokens.
            largest, token = vocabulary.get(last, -1), f"{last!r} of {type(tokenizer).__name__}"
        except Exception as error:
            # transformers raises errors of many types, some with many lines of unrelated advice.
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise TokenizerError(str(path), reason) from error
    if largest >= rows:
        raise TokenizerSizeError(str(path), largest, token, rows)
    if different_class is not None:
        warn(TokenizerClassWarning(str(path), different_class))


def _find_tokenizer_json(path: str | Path, keywords: Mapping[str, Any]) -> Path | None:
    """Return the path of tokenizer.json; None if there is none."""
    try:
        file = cached_file(
            path, "tokenizer.json", **{name: keywords[name] for name in TOKENIZER_KEYWORDS & keywords.keys()}
        )
    except OSError:
        return None
    return Path(file) if file is not None else None


def _tokenizes_differently(file: Path, tokenizer: Any) -> bool:
    """Compare a tokenizer with its file: transformers may choose a class by the model family."""
    if type(tokenizer) is TokenizersBackend:
        return False
    expected = Tokenizer.from_file(str(file))
    return any(
        tokenizer.encode(text, add_special_tokens=False) != expected.encode(text, add_special_tokens=False).ids
        for text in _PROBES
    )


def _largest_id_in_file(file: Path | None) -> int:
    """Return the largest token ID in a tokenizer.json; -1 if it is unknown."""
    if file is None:
        return -1
    try:
        tokens = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"].values()
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        # A tokenizer of another kind, or a corrupt file, which transformers reports.
        return -1
    return max((token for token in tokens if isinstance(token, int)), default=-1)
