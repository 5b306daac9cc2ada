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

"""What a release was made of, so that nobody starts from another model's: ``release/source.json``.

`megatron.bridge_release` has a link to this file: it imports neither torch nor megatron.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .commands import repair_command
from .layout import RELEASE, RUN_CONFIG, SOURCE_FILE
from .plain_files import Unreadable, load_yaml
from .source_content import differing_fields, digest_tensors, digest_weight_files, read_json


# What transformers writes anew into a model that stays the same.
_VOLATILE = ("_attn_implementation_autoset", "_commit_hash", "_name_or_path", "transformers_version")

# Fields that the first versions did not record.
_ADDED = {"let_through", "config", "tensors_sha256"}


@dataclass(frozen=True)
class Source:
    """What a release was made of.

    Attributes:
        made_of: The ID on the Hugging Face Hub, or the absolute folder.
        config_sha256: Digest of its config; None where it is not known.
        weights_sha256: Digest of a folder's weight files, which only the first versions recorded.
        megatron_bridge: Version of Megatron-Bridge that wrote the release.
        let_through: What the release lacks of it, with its maker's consent, a sentence each.
        config: Content of its config.json; None where it is not known.
        tensors_sha256: Digest of a folder's tensors; None where it is not known.
    """

    made_of: str
    config_sha256: str | None = None
    weights_sha256: str | None = None
    megatron_bridge: str = ""
    let_through: tuple[str, ...] = ()
    config: dict[str, Any] | None = None
    tensors_sha256: str | None = None


def describe(hf_model: str | Path) -> Source:
    """Describe a Hugging Face model.

    Args:
        hf_model: Model ID, or folder of a model.

    Returns:
        What `write_source` records of it.

    Raises:
        ValueError: If a file of the folder is damaged.
        OSError: If one cannot be read.
    """
    folder = Path(os.path.expanduser(hf_model))
    if folder.is_dir():
        return _describe(os.path.abspath(folder), folder / "config.json", digest_tensors(folder))
    if _is_path(hf_model):
        return Source(os.path.abspath(folder), megatron_bridge=_version())
    # It takes a moment to import. What has been converted is in its cache.
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(str(hf_model), "config.json")
    except ValueError:
        # No ID: a folder that is not there, given relative to where it was.
        cached = None
    return _describe(str(hf_model), Path(cached) if isinstance(cached, str) else None)


def _describe(made_of: str, config_file: Path | None, tensors_sha256: str | None = None) -> Source:
    config = read_json(config_file) if config_file is not None and config_file.is_file() else None
    return Source(
        made_of,
        None if config is None else _digest_config(config),
        megatron_bridge=_version(),
        config=config,
        tensors_sha256=tensors_sha256,
    )


def describe_run_config(folder: Path) -> Source | None:
    """Return the model that a checkpoint folder's run config names; its content is not looked at.

    Args:
        folder: Checkpoint folder.

    Returns:
        What is known; None where the run config names no model, or is none.
    """
    try:
        made_of = load_yaml(folder / RUN_CONFIG)["model"]["hf_model_id"]
    except (OSError, Unreadable, KeyError, TypeError):
        return None
    return Source(made_of, megatron_bridge=_version()) if isinstance(made_of, str) and made_of else None


def write_source(source: Source, folder: Path) -> None:
    """Record what a release was made of.

    Args:
        source: The model.
        folder: Checkpoint folder.
    """
    # A new file, never the old one's bytes: another checkpoint folder may have those under a second name.
    (folder / SOURCE_FILE).unlink(missing_ok=True)
    (folder / SOURCE_FILE).write_text(json.dumps(vars(source), indent=2) + "\n")


def read_source(folder: Path) -> Source | None:
    """Read what a release was made of.

    Args:
        folder: Checkpoint folder.

    Returns:
        The model; None where there is no record.

    Raises:
        Unreadable: If the record is damaged.
    """
    try:
        told = json.loads((folder / SOURCE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(f"{SOURCE_FILE} cannot be read: {error}") from error
    known = vars(Source("")).keys()
    if not isinstance(told, dict) or {*told} | _ADDED != known:
        raise Unreadable(f"{SOURCE_FILE} cannot be read: it has other fields than a source")
    let_through = told.pop("let_through", [])
    if not isinstance(let_through, list) or not all(isinstance(text, str) for text in let_through):
        raise Unreadable(f"{SOURCE_FILE} cannot be read: let_through is no list of texts")
    source = Source(**told, let_through=tuple(let_through))
    digests = (source.config_sha256, source.weights_sha256, source.tensors_sha256)
    if not isinstance(source.made_of, str) or not all(digest is None or isinstance(digest, str) for digest in digests):
        raise Unreadable(f"{SOURCE_FILE} cannot be read: a field of it is no text")
    if source.config is not None and not isinstance(source.config, dict):
        raise Unreadable(f"{SOURCE_FILE} cannot be read: config is no JSON object")
    return source


def require_source(root: str | Path, hf_model: str | Path) -> None:
    """Require that a root's release was made of a Hugging Face model.

    For a model ID, an equal name is enough. A folder is told by its content, wherever it stands; one that is gone, by
    its path.

    Args:
        root: Checkpoint root.
        hf_model: Model ID, or folder of a model.

    Raises:
        ValueError: If the release was made of another model, or does not say of which, or if there is none.
        OSError: If a file cannot be read.
    """
    folder = Path(root) / RELEASE
    if not folder.is_dir():
        raise ValueError(f"{root} holds no release. Import {hf_model} into another folder.")
    repair = repair_command(root)
    try:
        held = read_source(folder)
    except Unreadable as error:
        raise ValueError(f"{folder}: {error}. {repair or 'Import the model again.'}") from error
    if held is None:
        what_next = f"Where its run config knows, this records it: {repair}. Or give" if repair else "Give"
        raise ValueError(
            f"The release in {root} does not say which model it was made of, so it may be another than {hf_model}. "
            f"{what_next} another folder."
        )
    if held.made_of == str(hf_model) and not Path(hf_model).is_dir():
        return
    asked = describe(hf_model)
    others = _differences(held, asked)
    if held.made_of in (asked.made_of, str(hf_model)):
        if others:
            raise ValueError(
                f"{asked.made_of} has changed since {root} was made of it: its {' and its '.join(others)}. Import it into "
                "another folder."
            )
        return
    known = held.config_sha256 is not None and (held.tensors_sha256 or held.weights_sha256) is not None
    if others or not known or asked.tensors_sha256 is None:
        raise ValueError(
            f"{root} holds a release of {held.made_of}, not of {asked.made_of}. Import that into another folder."
        )


def _differences(held: Source, asked: Source) -> list[str]:
    """Return what of a model differs from a release's source, as far as both are known."""
    differences = []
    if None not in (held.config_sha256, asked.config_sha256) and held.config_sha256 != asked.config_sha256:
        if held.config is None or asked.config is None:
            differences.append("config")
        elif fields := differing_fields(held.config, asked.config):
            differences.append(f"config ({', '.join(fields)})")
    if asked.tensors_sha256 is not None:
        if held.tensors_sha256 is not None:
            same = held.tensors_sha256 == asked.tensors_sha256
        else:
            same = held.weights_sha256 in (None, digest_weight_files(Path(asked.made_of)))
        if not same:
            differences.append("weights")
    return differences


def _is_path(hf_model: str | Path) -> bool:
    """Return whether a name is a folder's, there or not, and no ID, which is "name" or "organization/name"."""
    return str(hf_model).startswith((".", "/", "~")) or str(hf_model).count("/") > 1


def _version() -> str:
    try:
        return version("megatron-bridge")
    except PackageNotFoundError:
        # Run from a checkout.
        return ""


def _digest_config(config: dict[str, Any]) -> str:
    kept = {name: value for name, value in config.items() if name not in _VOLATILE}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
