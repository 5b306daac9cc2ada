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

"""Downloads one revision of a model from the Hugging Face Hub, once, into the cache of `huggingface_hub`.

The revision is resolved to a commit first. Everything else reads the snapshot of that commit.

Importing this module imports neither torch nor Megatron Core.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megatron.bridge.release.source.safetensors_index import INDEX, WEIGHTS
from megatron.bridge.release.source.provenance import SourceModel


# Keywords of `from_pretrained` that determine which files of the Hub are read, and from where.
HUB_KEYWORDS = frozenset({"cache_dir", "force_download", "local_files_only", "revision", "token"})
# Those that also determine which tokenizer is loaded.
PLACE = frozenset({"cache_dir", "local_files_only", "revision", "subfolder", "token"})

# The files that a conversion reads. In a pattern, * also matches slashes.
_FILES = ("*.jinja", "*.json", "*.model", "*.py", "*.safetensors", "*.tiktoken", "*.txt", "LICENSE*", "NOTICE*")
_OTHER_FORMATS = ("consolidated*", "*/*.json", "*/*.model", "*/*.safetensors", "*/*.txt")

_COMMIT = re.compile("[0-9a-f]{40}")
_TIMEOUT = 10  # seconds
_LOG_IN = "Log in (hf auth login), set HF_TOKEN, or pass a token"

logger = logging.getLogger(__name__)


class HubError(ValueError):
    """A model cannot be downloaded from the Hugging Face Hub.

    Attributes:
        model_id: Model ID.
        revision: Requested revision; None for the default branch.
    """

    def __init__(self, message: str, model_id: str = "", revision: str | None = None) -> None:
        super().__init__(message)
        self.model_id, self.revision = model_id, revision


class ModelNotFoundError(HubError):
    """The Hub has no such model."""


class RevisionNotFoundError(HubError):
    """The model has no such revision."""


class AuthenticationError(HubError):
    """The Hub accepts only users that are logged in."""


class GatedModelError(HubError):
    """The user has no access to the model."""


class RateLimitError(HubError):
    """The Hub refuses further requests for some time."""


class UnreachableError(HubError):
    """The Hub did not answer, and the model is not in the cache."""


class NotCachedError(HubError):
    """The model is not in the cache, and requests are disabled."""


class NoSafetensorsError(HubError):
    """The model has no weights that can be converted."""


def download_model(model_id: str, keywords: Mapping[str, Any]) -> SourceModel:
    """Download those files of a model that a conversion reads.

    Args:
        model_id: Model ID.
        keywords: Keywords of `from_pretrained`; those of `HUB_KEYWORDS` are used.

    Returns:
        The model. If the Hub cannot be reached, or must not be, its last known commit in the cache.

    Raises:
        HubError: If it cannot be downloaded, and is not complete in the cache. One line.
        OSError: If the cache cannot be written.
    """
    # Slow to import, and a local directory does not need it.
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
            # snapshot_download resolves it too, but if the Hub refuses, it takes what is in the cache without notice.
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
        raise HubError(f"{model_id} changed during the download. Start again.", model_id, revision)
    if not any((folder / name).is_file() for name in (WEIGHTS, INDEX)):
        raise NoSafetensorsError(
            f"{model_id} has no safetensors weights: neither {WEIGHTS} nor {INDEX} is in {folder}. Choose a revision "
            "that has them, or load the model with transformers and write it with save_pretrained.",
            model_id,
            revision,
        )
    return SourceModel(model_id, folder, revision, folder.name)


def weights_folder(hf_model: str | Path, keywords: Mapping[str, Any]) -> str | Path:
    """Return where the weights of a model are, at the revision that its config is read at.

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
    """Request a file from the Hub, once: `from_pretrained` retries for a long time.

    Args:
        repository: Model ID.
        file: Path in the repository.
        keywords: As of `download_model`.

    Returns:
        Why it is not available; empty if it is, or if it is in the cache.
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
    named = f"{model_id} at revision {revision}" if revision else model_id
    kind: type[HubError]
    if isinstance(error, errors.RevisionNotFoundError):
        kind, message = (
            RevisionNotFoundError,
            (
                f"Revision not found: {model_id} has no revision {revision} (404). Give a branch, a tag or a commit hash "
                f"of https://huggingface.co/{model_id}."
            ),
        )
    elif isinstance(error, errors.GatedRepoError) or status == 403:
        kind, message = (
            GatedModelError,
            (
                f"No access to {model_id} ({status}). Request access at https://huggingface.co/{model_id}. {_LOG_IN} of "
                "an account that has it."
            ),
        )
    elif status == 401 or isinstance(error, errors.LocalTokenNotFoundError):
        kind, message = (
            AuthenticationError,
            (
                f"The Hugging Face Hub requires a valid login for {model_id} (401): the model does not exist, is private, "
                f"or the token is invalid. Check the name. {_LOG_IN}."
            ),
        )
    elif isinstance(error, errors.RepositoryNotFoundError):
        kind, message = (
            ModelNotFoundError,
            (
                f"Model not found: {model_id} is neither a local directory nor on the Hugging Face Hub (404). Check the name."
            ),
        )
    elif status == 429:
        kind, message = (
            RateLimitError,
            (
                f"The Hugging Face Hub refuses more requests for now, at {named} (429). Wait, or pass a token: the limit "
                "is higher for users that are logged in."
            ),
        )
    elif isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        return _explain(error.__cause__, model_id, revision)
    elif isinstance(error, (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError)):
        kind, message = (
            NotCachedError,
            (
                f"Not in the cache, or incomplete: {named}, and requests are disabled (HF_HUB_OFFLINE or "
                "local_files_only). Download it on a host with network access, or give a local directory."
            ),
        )
    elif _is_unreachable(error):
        kind, message = (
            UnreachableError,
            (
                f"The Hugging Face Hub cannot be reached ({_first_line(error)}), and {named} is neither in the cache nor "
                "a local directory. Check the network and HTTPS_PROXY, or pass a local directory that exists."
            ),
        )
    else:
        return None
    return kind(message, model_id, revision)


def _is_unreachable(error: BaseException) -> bool:
    """Return whether there was no answer, or one that is not about the request."""
    import httpx
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = getattr(getattr(error, "response", None), "status_code", 0)
    return isinstance(error, (httpx.TransportError, OfflineModeIsEnabled)) or status >= 500


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
