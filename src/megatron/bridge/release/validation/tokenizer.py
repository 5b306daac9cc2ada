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

"""Checks, before the work, that a model's tokenizer loads and fits the model."""

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


# Where the normalizers and pre-tokenizers of families differ.
_PROBES = (
    "It's 12345 tokens, don't you know?",
    "  two\n\n\tdef f(x_1): return x**2",
    "e\u0301\u00e9 \u65e5\u672c\u8a9e \U0001f600",
)


def tokenizer_keywords(bridge: Any) -> dict[str, Any]:
    """Return the keywords with which a bridge loads its model's tokenizer.

    Args:
        bridge: The `AutoBridge` of the model.

    Returns:
        The keywords of `AutoTokenizer.from_pretrained`.
    """
    own: dict[str, Any] = getattr(architecture_bridge(bridge), "get_hf_tokenizer_kwargs", dict)() or {}
    given = {
        "revision": bridge.hf_model_revision,
        "trust_remote_code": getattr(bridge.hf_pretrained, "trust_remote_code", None),
    }
    return {name: value for name, value in given.items() if value} | own


def check_tokenizer(path: str | Path, keywords: Mapping[str, Any], config: Any) -> None:
    """Check that a tokenizer loads, and that each of its tokens has a row in the model's embedding.

    Args:
        path: Where the tokenizer is: a folder, or an ID of the Hub.
        keywords: Keywords for its loading.
        config: The Hugging Face config of the model.

    Raises:
        ValueError: If it does not load, is empty, or a token has no row. One line.
    """
    rows = config.get_text_config().vocab_size
    # First as the file has it: transformers counts up to a token of a great number, which takes minutes.
    file, other_class = _written(path, keywords), ""
    largest, kind = _largest_written_token(file), "tokenizer"
    if largest < rows:
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, **keywords)
            vocabulary = tokenizer.get_vocab()
            # Megatron Core's class does as much when it is made.
            tokenizer.tokenize("x y")
            if vocabulary.keys() <= set(tokenizer.all_special_tokens):
                # Without files, the classes of some families are made nevertheless.
                raise ValueError(f"{type(tokenizer).__name__} has no tokens but special ones")
            if file is not None and _makes_other_tokens(file, tokenizer):
                other_class = type(tokenizer).__name__
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
    if other_class:
        warn(
            f"transformers reads the tokenizer of {path} as its class {other_class}, which makes other tokens "
            f"than tokenizer.json says, and so does the release's. If the model was made with the file's own, give Megatron-LM "
            "--tokenizer-model with a folder that holds that file and tokenizer_config.json alone."
        )


def _written(path: str | Path, keywords: Mapping[str, Any]) -> Path | None:
    """Find the model's tokenizer.json, as transformers does; None where it has none."""
    try:
        file = cached_file(
            path, "tokenizer.json", **{name: keywords[name] for name in TOKENIZER_KEYWORDS & keywords.keys()}
        )
    except OSError:
        return None
    return Path(file) if file is not None else None


def _makes_other_tokens(file: Path, tokenizer: Any) -> bool:
    """Compare with what the file says; transformers may take a class by the model's family."""
    if type(tokenizer) is TokenizersBackend:
        return False
    written = Tokenizer.from_file(str(file))
    return any(
        tokenizer.encode(text, add_special_tokens=False) != written.encode(text, add_special_tokens=False).ids
        for text in _PROBES
    )


def _largest_written_token(file: Path | None) -> int:
    """Read the largest token of a vocabulary; -1 where the file does not say."""
    if file is None:
        return -1
    try:
        tokens = json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"].values()
    except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        # Another kind of tokenizer; or a damaged file, of which transformers tells.
        return -1
    return max((token for token in tokens if isinstance(token, int)), default=-1)
