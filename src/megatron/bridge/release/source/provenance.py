# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The source model of a release, and its record, ``source.json``.

Importing this module imports neither torch nor Megatron Core.
"""

import hashlib
import json
import os
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from megatron.bridge.release.checkpoint_dir import read_run_config
from megatron.bridge.release.errors import CorruptFileError, MissingReleaseError
from megatron.bridge.release.layout import RELEASE, SOURCE_FILE
from megatron.bridge.release.source.config_file import differing_fields, read_config
from megatron.bridge.release.source.provenance_errors import (
    SourceChangedError,
    SourceMismatchError,
    UnknownSourceError,
)
from megatron.bridge.release.source.safetensors_index import digest_tensors
from megatron.bridge.release.text import list_first


# Fields that transformers changes when it saves an unchanged model.
_VOLATILE = ("_attn_implementation_autoset", "_commit_hash", "_name_or_path", "transformers_version")


@dataclass(frozen=True)
class SourceModel:
    """A Hugging Face model whose files are on this host.

    Attributes:
        name: Its ID on the Hugging Face Hub, or its local directory.
        folder: Directory with its files: for a model ID, a snapshot in the cache of `huggingface_hub`.
        revision: Requested revision; None for the default branch, and for a local directory.
        commit: Hash of the commit that ``folder`` contains; None for a local directory.
    """

    name: str
    folder: Path
    revision: str | None = None
    commit: str | None = None


@dataclass(frozen=True)
class SourceRecord:
    """The content of ``source.json``.

    Attributes:
        model: ID of the source model on the Hugging Face Hub, or its absolute directory.
        config_sha256: Digest of its config; None if unknown.
        tensors_sha256: Digest of a directory's tensors; None if unknown.
        config: Content of its config.json; None if unknown.
        revision: Requested revision on the Hub; None for the default branch, and for a directory.
        commit: Commit on the Hub; None if unknown, and for a directory.
        waived: Differences from the source model that the user of the import allowed, a sentence each.
        megatron_bridge: Version of Megatron-Bridge that wrote the release.
    """

    model: str
    config_sha256: str | None = None
    tensors_sha256: str | None = None
    config: dict[str, Any] | None = None
    revision: str | None = None
    commit: str | None = None
    waived: tuple[str, ...] = ()
    megatron_bridge: str = ""


def is_path(name: str) -> bool:
    """Return whether a name has the form of a path, and not of a model ID: ``name`` or ``organization/name``."""
    return name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1


def describe_model(hf_model: str | Path | SourceModel, revision: str | None = None) -> SourceRecord:
    """Make the record of a Hugging Face model.

    Args:
        hf_model: Model ID, local directory, or a model of the Hub with its snapshot on this host.
        revision: Revision of a model ID, whose cached files are described.

    Raises:
        ReleaseError: If a file of the directory is corrupt.
        OSError: If a file cannot be read.
    """
    if isinstance(hf_model, SourceModel):
        record = describe_model(hf_model.folder)
        if hf_model.commit is None:
            return record
        return replace(record, model=hf_model.name, revision=hf_model.revision, commit=hf_model.commit)
    folder = Path(os.path.expanduser(hf_model))
    if folder.is_dir():
        return _describe(os.path.abspath(folder), folder / "config.json", digest_tensors(folder))
    if is_path(str(hf_model)):
        return SourceRecord(os.path.abspath(folder), megatron_bridge=_version())
    # Imported here because it is slow. A converted model is in its cache.
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(str(hf_model), "config.json", revision=revision)
    except ValueError:
        # Not a model ID, but a relative path that does not exist here.
        cached = None
    if not isinstance(cached, str):
        return SourceRecord(str(hf_model), megatron_bridge=_version(), revision=revision)
    return replace(_describe(str(hf_model), Path(cached)), revision=revision, commit=Path(cached).parent.name)


def _describe(model: str, config_file: Path, tensors_sha256: str | None = None) -> SourceRecord:
    config = read_config(config_file) if config_file.is_file() else None
    return SourceRecord(
        model,
        None if config is None else _digest_config(config),
        tensors_sha256,
        config,
        megatron_bridge=_version(),
    )


def source_from_run_config(folder: Path) -> SourceRecord | None:
    """Return the name and the revision of the model that the run config of an iteration directory records, if any."""
    try:
        model = read_run_config(folder)["model"]
        # Models that a builder makes (upstream 0.7) record it in their metadata.
        name = model.get("hf_model_id") or (model.get("extra_checkpoint_metadata") or {}).get("hf_model_id")
        revision = model.get("hf_model_revision")
    except (OSError, CorruptFileError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(name, str) or not name:
        return None
    return SourceRecord(name, megatron_bridge=_version(), revision=revision if isinstance(revision, str) else None)


def write_source(source: SourceRecord, folder: Path) -> None:
    """Write the record of a release's source model into the iteration directory."""
    # Unlink first: the old file may be hard-linked into another checkpoint.
    (folder / SOURCE_FILE).unlink(missing_ok=True)
    (folder / SOURCE_FILE).write_text(json.dumps(vars(source), indent=2) + "\n", encoding="utf-8")


def read_source(folder: Path) -> SourceRecord | None:
    """Read the record of a release's source model.

    Args:
        folder: Iteration directory.

    Returns:
        The record; None if there is none.

    Raises:
        CorruptFileError: If it is corrupt.
    """
    try:
        record = json.loads((folder / SOURCE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptFileError(SOURCE_FILE, str(error)) from error
    hints = get_type_hints(SourceRecord)
    if not isinstance(record, dict) or record.keys() != hints.keys():
        raise CorruptFileError(SOURCE_FILE, "missing or unknown fields")
    for name, hint in hints.items():
        if not _is_valid(record[name], hint):
            raise CorruptFileError(SOURCE_FILE, f"{name} has the wrong type")
    return SourceRecord(**record | {"waived": tuple(record["waived"])})


def _is_valid(value: Any, hint: Any) -> bool:
    """Return whether a JSON value has the type of a field of `SourceRecord`."""
    if isinstance(hint, UnionType):
        return any(_is_valid(value, member) for member in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, list) and all(isinstance(item, get_args(hint)[0]) for item in value)
    return isinstance(value, get_origin(hint) or hint)


def recorded_revision(root: str | Path, hf_model: str | Path) -> str | None:
    """Return the revision of a Hub model at which a checkpoint directory's release was imported.

    Args:
        root: Checkpoint directory.
        hf_model: Hugging Face model ID, or local directory of a model, which has none.

    Returns:
        The commit, or the revision if the commit is unknown; None if the release has another source model or no record.
    """
    try:
        recorded = read_source(Path(root) / RELEASE)
    except CorruptFileError:
        return None
    if recorded is None or recorded.model != str(hf_model) or Path(os.path.expanduser(hf_model)).exists():
        return None
    return recorded.commit or recorded.revision


def require_source(root: str | Path, hf_model: str | Path | SourceModel) -> None:
    """Require that a release was imported from a Hugging Face model.

    A model ID matches an equal name, a snapshot an equal commit. Other snapshots and directories match if their content is
    equal, whatever their path. A directory that no longer exists matches an equal path.

    Args:
        root: Checkpoint directory.
        hf_model: Model ID, local directory, or a model of the Hub with its snapshot on this host.

    Raises:
        ReleaseError: If the release was imported from another model, does not record its source model or does not exist.
        OSError: If a file cannot be read.
    """
    root, commit = Path(root), None
    if isinstance(hf_model, SourceModel) and hf_model.commit is None:
        hf_model = hf_model.name
    name = str(hf_model)
    if isinstance(hf_model, SourceModel):
        name, commit = hf_model.name, hf_model.commit
    if not (root / RELEASE).is_dir():
        raise MissingReleaseError(root, "other")
    try:
        recorded = read_source(root / RELEASE)
    except CorruptFileError as error:
        raise UnknownSourceError(root, name, str(error)) from error
    if recorded is None:
        raise UnknownSourceError(root, name, None)
    if recorded.model == name and (commit == recorded.commit if commit else not Path(name).is_dir()):
        return
    passed = describe_model(hf_model)
    differences = _differences(recorded, passed)
    if recorded.model in (passed.model, name) and None in (commit, recorded.commit):
        if differences:
            raise SourceChangedError(root, passed.model, differences)
        return
    is_complete = None not in (recorded.config_sha256, recorded.tensors_sha256, passed.tensors_sha256)
    if differences or not is_complete:
        raise SourceMismatchError(root, _name(recorded), _name(passed), differences)


def require_same_config(root: Path, name: str, config: dict[str, Any]) -> None:
    """Require that a model has the config of a release's source model, if that is recorded.

    Args:
        root: Checkpoint directory.
        name: The model's ID or directory.
        config: Content of its config.json.

    Raises:
        SourceMismatchError: If a field differs that may change the conversion.
    """
    try:
        recorded = read_source(root / RELEASE)
    except CorruptFileError:
        return
    if recorded is not None and recorded.config is not None and (fields := differing_fields(recorded.config, config)):
        raise SourceMismatchError(root, _name(recorded), name, (_list_fields(fields),))


def _differences(recorded: SourceRecord, passed: SourceRecord) -> tuple[str, ...]:
    """Return how a model differs from a release's source model, as far as both are known."""
    differences = []
    if (
        None not in (recorded.tensors_sha256, passed.tensors_sha256)
        and recorded.tensors_sha256 != passed.tensors_sha256
    ):
        differences.append("weights")
    if None not in (recorded.config_sha256, passed.config_sha256) and recorded.config_sha256 != passed.config_sha256:
        if recorded.config is None or passed.config is None:
            differences.append("config")
        elif fields := differing_fields(recorded.config, passed.config):
            differences.append(_list_fields(fields))
    return tuple(differences)


def _list_fields(fields: list[str]) -> str:
    return f"config fields: {list_first(fields, most=5)}"


def _name(source: SourceRecord) -> str:
    return f"{source.model} at commit {source.commit}" if source.commit else source.model


def _version() -> str:
    try:
        return version("megatron-bridge")
    except PackageNotFoundError:
        # Run from a checkout.
        return ""


def _digest_config(config: dict[str, Any]) -> str:
    kept = {name: value for name, value in config.items() if name not in _VOLATILE}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
