# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Downloads one revision of a model from the Hugging Face Hub, once, into the cache of `huggingface_hub`.

The revision is resolved to a commit first. Everything else reads the snapshot of that commit.

Importing this module imports neither torch nor Megatron Core.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megatron.bridge.release.source.hub_errors import (
    AuthenticationError,
    GatedModelError,
    HubError,
    ModelChangedError,
    ModelNotFoundError,
    NoSafetensorsError,
    NotCachedError,
    RateLimitError,
    RevisionNotFoundError,
    UnreachableError,
)
from megatron.bridge.release.source.provenance import SourceModel
from megatron.bridge.release.source.safetensors_index import INDEX, WEIGHTS


# Keywords of `from_pretrained` that determine which files of the Hub are read, and from where.
HUB_KEYWORDS = frozenset({"cache_dir", "force_download", "local_files_only", "revision", "token"})
# Those that also determine which tokenizer is loaded.
TOKENIZER_KEYWORDS = frozenset({"cache_dir", "local_files_only", "revision", "subfolder", "token"})

# The files that a conversion reads. In a pattern, * also matches slashes.
_FILES = ("*.jinja", "*.json", "*.model", "*.py", "*.safetensors", "*.tiktoken", "*.txt", "LICENSE*", "NOTICE*")
_OTHER_FORMATS = ("consolidated*", "*/*.json", "*/*.model", "*/*.safetensors", "*/*.txt")

_COMMIT = re.compile("[0-9a-f]{40}")
_TIMEOUT = 10  # seconds

logger = logging.getLogger(__name__)


def download_model(model_id: str, keywords: Mapping[str, Any]) -> SourceModel:
    """Download those files of a model that a conversion reads.

    Args:
        model_id: Model ID.
        keywords: Keywords of `from_pretrained`; those of `HUB_KEYWORDS` are used.

    Returns:
        The model. If the Hub cannot be reached, or must not be, its last known commit in the cache.

    Raises:
        HubError: If it cannot be downloaded, and is not complete in the cache.
        OSError: If the cache cannot be written.
    """
    # Imported here because they are slow, and a local directory does not need them.
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    revision: str | None = keywords.get("revision")
    token, cache_dir = keywords.get("token"), keywords.get("cache_dir")

    def download(*, force_download: bool = False, local_files_only: bool = False) -> Path:
        return Path(
            snapshot_download(
                model_id,
                revision=revision,
                cache_dir=cache_dir,
                token=token,
                force_download=force_download,
                local_files_only=local_files_only,
                allow_patterns=[*_FILES],
                ignore_patterns=[*_OTHER_FORMATS],
            )
        )

    commit = None
    try:
        if not keywords.get("local_files_only"):
            # snapshot_download resolves it too, but falls back to the cache silently if the Hub refuses.
            commit = (
                revision
                if revision and _COMMIT.fullmatch(revision)
                else HfApi(token=token).model_info(model_id, revision=revision, timeout=_TIMEOUT).sha
            )
        folder = download(force_download=bool(keywords.get("force_download")), local_files_only=commit is None)
    except Exception as error:
        if not _is_unreachable(error):
            raise (_explain(error, model_id, revision) or error) from None
        try:
            folder, commit = download(local_files_only=True), None
        except LocalEntryNotFoundError:
            raise (_explain(error, model_id, revision) or error) from None
        if not isinstance(error, OfflineModeIsEnabled):
            logger.warning("%s: using commit %s of the cache (%s).", model_id, folder.name, _first_line(error))
    if commit not in (None, folder.name):
        raise ModelChangedError(model_id, revision)
    if not any((folder / name).is_file() for name in (WEIGHTS, INDEX)):
        raise NoSafetensorsError(model_id, revision)
    return SourceModel(model_id, folder, revision, folder.name)


def weights_folder(hf_model: str | Path, keywords: Mapping[str, Any]) -> str | Path:
    """Return the directory with the weights of a model, at the revision of its config.

    Args:
        hf_model: Hugging Face model ID, or local directory of a model.
        keywords: Keywords of `from_pretrained`.

    Returns:
        The directory of its snapshot; ``hf_model`` itself for a directory, and if no keyword concerns the Hub.

    Raises:
        HubError: If the model cannot be downloaded.
    """
    if not any(keywords.get(name) for name in HUB_KEYWORDS) or Path(hf_model).is_dir():
        return hf_model
    return download_model(str(hf_model), keywords).folder


def find_hub_problem(repository: str, file: str, keywords: Mapping[str, Any]) -> str:
    """Return why a file of a model is not available; empty if it is.

    It sends one request. `from_pretrained` would retry for a long time.

    Args:
        repository: Model ID.
        file: Path in the repository.
        keywords: As of `download_model`.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    revision, cache_dir = keywords.get("revision"), keywords.get("cache_dir")
    try:
        if isinstance(try_to_load_from_cache(repository, file, cache_dir, revision), str):
            return ""
        if keywords.get("local_files_only"):
            return "not in the cache"
        url = hf_hub_url(repository, file, revision=revision)
        get_hf_file_metadata(url, token=keywords.get("token"), timeout=_TIMEOUT)
    except Exception as error:
        return f"{type(error).__name__}: {_first_line(error)}"
    return ""


def _explain(error: BaseException, model_id: str, revision: str | None) -> HubError | None:
    """Return the error to raise for one of `huggingface_hub`; None if it does not come from the Hub."""
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.RevisionNotFoundError):
        return RevisionNotFoundError(model_id, revision)
    if isinstance(error, errors.GatedRepoError) or status == 403:
        return GatedModelError(model_id, revision)
    if status == 401 or isinstance(error, errors.LocalTokenNotFoundError):
        return AuthenticationError(model_id, revision)
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFoundError(model_id, revision)
    if status == 429:
        return RateLimitError(model_id, revision)
    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        return _explain(error.__cause__, model_id, revision)
    if isinstance(error, (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError)):
        return NotCachedError(model_id, revision)
    if _is_unreachable(error):
        return UnreachableError(model_id, revision, _first_line(error))
    return None


def _is_unreachable(error: BaseException) -> bool:
    """Return whether there was no answer, or one that is not about the request."""
    import httpx
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = getattr(getattr(error, "response", None), "status_code", 0)
    return isinstance(error, (httpx.TransportError, OfflineModeIsEnabled)) or status >= 500


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
