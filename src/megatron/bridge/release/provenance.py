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

"""Records and verifies the source model of a release: ``release/source.json``.

Importing this module imports neither torch nor Megatron Core.
"""

import hashlib
import json
import os
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from megatron.bridge.release.errors import CorruptFileError, command_line
from megatron.bridge.release.layout import RELEASE, SOURCE_FILE
from megatron.bridge.release.checkpoint_dir import read_run_config
from megatron.bridge.release.source_content import differing_fields, digest_tensors, digest_weight_files, read_json
from megatron.bridge.release.source.provenance import SourceModel, is_path


# Fields that transformers changes when it saves an unchanged model.
_VOLATILE = ("_attn_implementation_autoset", "_commit_hash", "_name_or_path", "transformers_version")

# Fields that the first versions did not record.
_ADDED = {"waived", "config", "tensors_sha256", "revision", "commit"}

# How many differing fields of a config a message names.
_MOST_FIELDS = 5


@dataclass(frozen=True)
class SourceRecord:
    """The source model of a release.

    Attributes:
        made_of: Its ID on the Hugging Face Hub, or its absolute directory.
        config_sha256: Digest of its config; None if unknown.
        weights_sha256: Digest of a directory's weight files, which only the first versions recorded.
        megatron_bridge: Version of Megatron-Bridge that wrote the release.
        waived: Differences from it that the user of the import allowed, a sentence each.
        config: Content of its config.json; None if unknown.
        tensors_sha256: Digest of a directory's tensors; None if unknown.
        revision: Requested revision on the Hub; None for the default branch, and for a directory.
        commit: Commit on the Hub; None if unknown, and for a directory.
    """

    made_of: str
    config_sha256: str | None = None
    weights_sha256: str | None = None
    megatron_bridge: str = ""
    waived: tuple[str, ...] = ()
    config: dict[str, Any] | None = None
    tensors_sha256: str | None = None
    revision: str | None = None
    commit: str | None = None


def describe(hf_model: str | Path | SourceModel, revision: str | None = None) -> SourceRecord:
    """Describe a Hugging Face model.

    Args:
        hf_model: Model ID, folder of a model, or a model of the Hub with its snapshot on this host.
        revision: Revision of a model ID, whose cached files are described.

    Returns:
        What `write_source` records of it.

    Raises:
        ValueError: If a file of the folder is damaged.
        OSError: If one cannot be read.
    """
    if isinstance(hf_model, SourceModel):
        found = describe(hf_model.folder)
        if hf_model.commit is None:
            return found
        return replace(found, made_of=hf_model.name, revision=hf_model.revision, commit=hf_model.commit)
    folder = Path(os.path.expanduser(hf_model))
    if folder.is_dir():
        return _describe(os.path.abspath(folder), folder / "config.json", digest_tensors(folder))
    if is_path(str(hf_model)):
        return SourceRecord(os.path.abspath(folder), megatron_bridge=_version())
    # It takes a moment to import. What has been converted is in its cache.
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(str(hf_model), "config.json", revision=revision)
    except ValueError:
        # No ID: a folder that is not there, given relative to where it was.
        cached = None
    if not isinstance(cached, str):
        return SourceRecord(str(hf_model), megatron_bridge=_version(), revision=revision)
    return replace(_describe(str(hf_model), Path(cached)), revision=revision, commit=Path(cached).parent.name)


def _describe(made_of: str, config_file: Path, tensors_sha256: str | None = None) -> SourceRecord:
    config = read_json(config_file) if config_file.is_file() else None
    return SourceRecord(
        made_of,
        None if config is None else _digest_config(config),
        megatron_bridge=_version(),
        config=config,
        tensors_sha256=tensors_sha256,
    )


def source_from_run_config(folder: Path) -> SourceRecord | None:
    """Return the model that a checkpoint folder's run config names; its content is not looked at.

    Args:
        folder: Checkpoint folder.

    Returns:
        What is known; None where the run config names no model, or is none.
    """
    try:
        model = read_run_config(folder)["model"]
        # Models of later versions, which a builder makes, have it among their metadata.
        made_of = model.get("hf_model_id") or (model.get("extra_checkpoint_metadata") or {}).get("hf_model_id")
        revision = model.get("hf_model_revision")
    except (OSError, CorruptFileError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(made_of, str) or not made_of:
        return None
    return SourceRecord(made_of, megatron_bridge=_version(), revision=revision if isinstance(revision, str) else None)


def write_source(source: SourceRecord, folder: Path) -> None:
    """Record the source model of a release.

    Args:
        source: The source model.
        folder: Checkpoint folder.
    """
    # Not written in place: another checkpoint folder may have a hard link to the file.
    (folder / SOURCE_FILE).unlink(missing_ok=True)
    (folder / SOURCE_FILE).write_text(json.dumps(vars(source), indent=2) + "\n", encoding="utf-8")


def read_source(folder: Path) -> SourceRecord | None:
    """Read the source model of a release.

    Args:
        folder: Checkpoint folder.

    Returns:
        The source model; None if it is not recorded.

    Raises:
        CorruptFileError: If the record is damaged.
    """
    try:
        record = json.loads((folder / SOURCE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptFileError(SOURCE_FILE, str(error)) from error
    known = vars(SourceRecord("")).keys()
    if not isinstance(record, dict) or {*record} | _ADDED != known:
        raise CorruptFileError(SOURCE_FILE, "missing or unknown fields")
    waived = record.pop("waived", [])
    if not isinstance(waived, list) or not all(isinstance(text, str) for text in waived):
        raise CorruptFileError(SOURCE_FILE, "waived is not a list of strings")
    source = SourceRecord(**record, waived=tuple(waived))
    texts = (source.config_sha256, source.weights_sha256, source.tensors_sha256, source.revision, source.commit)
    if not isinstance(source.made_of, str) or not all(text is None or isinstance(text, str) for text in texts):
        raise CorruptFileError(SOURCE_FILE, "a field is not a string")
    if source.config is not None and not isinstance(source.config, dict):
        raise CorruptFileError(SOURCE_FILE, "config is not a JSON object")
    return source


def recorded_revision(root: str | Path, hf_model: str | Path) -> str | None:
    """Return the revision of a Hub model at which a checkpoint directory's release was imported.

    Args:
        root: Checkpoint directory.
        hf_model: Hugging Face model ID, or local directory of a model, which has none.

    Returns:
        The commit, or the revision if the commit is not known; None if the release has another source model or no record.
    """
    try:
        recorded = read_source(Path(root) / RELEASE)
    except CorruptFileError:
        return None
    if Path(os.path.expanduser(hf_model)).exists():
        return None
    return (
        (recorded.commit or recorded.revision) if recorded is not None and recorded.made_of == str(hf_model) else None
    )


def require_source(root: str | Path, hf_model: str | Path | SourceModel) -> None:
    """Require that a release was imported from a Hugging Face model.

    A model ID matches an equal name, a snapshot an equal commit. Other snapshots and directories match if their content is
    equal, whatever their path. A directory that no longer exists matches an equal path.

    Args:
        root: Checkpoint root.
        hf_model: Model ID, folder of a model, or a model of the Hub with its snapshot on this host.

    Raises:
        ValueError: If the release was imported from another model or does not record its source model, or if there is no
            release.
        OSError: If a file cannot be read.
    """
    folder, commit = Path(root) / RELEASE, None
    if isinstance(hf_model, SourceModel) and hf_model.commit is None:
        hf_model = hf_model.name
    name = str(hf_model)
    if isinstance(hf_model, SourceModel):
        name, commit = hf_model.name, hf_model.commit
    if not folder.is_dir():
        raise ValueError(f"{root} contains no release. Pass another checkpoint directory.")
    repair = command_line("repair", root)
    try:
        recorded = read_source(folder)
    except CorruptFileError as error:
        raise ValueError(f"{folder}: {error}. {repair}") from error
    if recorded is None:
        raise ValueError(
            f"{folder} does not record its source model, which may not be {name}. To record it from the run config, "
            f"run: {repair}"
        )
    if recorded.made_of == name and (commit == recorded.commit if commit else not Path(name).is_dir()):
        return
    given = describe(hf_model)
    differences = _differences(
        recorded, given, hf_model.folder if isinstance(hf_model, SourceModel) else Path(given.made_of)
    )
    differing = f" (different {' and '.join(differences)})" if differences else ""
    if recorded.made_of in (given.made_of, name) and None in (commit, recorded.commit):
        if differences:
            raise ValueError(
                f"{given.made_of} has changed since {root} was imported from it{differing}. Restore the model, or pass "
                "another checkpoint directory."
            )
        return
    known = recorded.config_sha256 is not None and (recorded.tensors_sha256 or recorded.weights_sha256) is not None
    if differences or not known or given.tensors_sha256 is None:
        raise ValueError(
            f"{root} was imported from {_name(recorded)}, not from {_name(given)}{differing}. Pass the source model, or "
            "another checkpoint directory."
        )


def require_same_config(root: Path, name: str, config: dict[str, Any]) -> None:
    """Require that a model has the config of a release's source model, if that is recorded.

    Args:
        root: Checkpoint directory.
        name: The model's ID or directory.
        config: Content of its config.json.

    Raises:
        ValueError: If a field differs that may change the conversion.
    """
    try:
        recorded = read_source(root / RELEASE)
    except CorruptFileError:
        return
    if recorded is not None and recorded.config is not None and (fields := differing_fields(recorded.config, config)):
        raise ValueError(
            f"{root} was imported from {_name(recorded)}, not from {name} (different config fields: {_listed(fields)}). "
            "Pass the source model."
        )


def _differences(recorded: SourceRecord, given: SourceRecord, folder: Path) -> list[str]:
    """Return how a model in a directory differs from a release's source model, as far as both are known."""
    differences = []
    if None not in (recorded.config_sha256, given.config_sha256) and recorded.config_sha256 != given.config_sha256:
        if recorded.config is None or given.config is None:
            differences.append("config")
        elif fields := differing_fields(recorded.config, given.config):
            differences.append(f"config fields: {_listed(fields)}")
    if given.tensors_sha256 is not None:
        if recorded.tensors_sha256 is not None:
            same = recorded.tensors_sha256 == given.tensors_sha256
        else:
            same = recorded.weights_sha256 in (None, digest_weight_files(folder))
        if not same:
            # Before the config's, whose list of fields may be long.
            differences.insert(0, "weights")
    return differences


def _listed(fields: list[str]) -> str:
    more = len(fields) - _MOST_FIELDS
    return ", ".join(fields[:_MOST_FIELDS]) + (f" and {more} more" if more > 0 else "")


def _name(source: SourceRecord) -> str:
    return f"{source.made_of} at commit {source.commit}" if source.commit else source.made_of


def _version() -> str:
    try:
        return version("megatron-bridge")
    except PackageNotFoundError:
        # Run from a checkout.
        return ""


def _digest_config(config: dict[str, Any]) -> str:
    kept = {name: value for name, value in config.items() if name not in _VOLATILE}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
