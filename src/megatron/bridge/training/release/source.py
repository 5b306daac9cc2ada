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
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .commands import repair_command
from .layout import RELEASE, RUN_CONFIG, SOURCE_FILE
from .plain_files import Unreadable, load_yaml
from .source_content import differing_fields, digest_tensors, digest_weight_files, read_json
from .source_model import SourceModel


# What transformers writes anew into a model that stays the same.
_VOLATILE = ("_attn_implementation_autoset", "_commit_hash", "_name_or_path", "transformers_version")

# Fields that the first versions did not record.
_ADDED = {"let_through", "config", "tensors_sha256", "revision", "commit"}


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
        revision: Requested revision on the Hub; None if none was, and for a folder.
        commit: Commit on the Hub; None if it is not known, and for a folder.
    """

    made_of: str
    config_sha256: str | None = None
    weights_sha256: str | None = None
    megatron_bridge: str = ""
    let_through: tuple[str, ...] = ()
    config: dict[str, Any] | None = None
    tensors_sha256: str | None = None
    revision: str | None = None
    commit: str | None = None


def describe(hf_model: str | Path | SourceModel, revision: str | None = None) -> Source:
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
    if _is_path(hf_model):
        return Source(os.path.abspath(folder), megatron_bridge=_version())
    # It takes a moment to import. What has been converted is in its cache.
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(str(hf_model), "config.json", revision=revision)
    except ValueError:
        # No ID: a folder that is not there, given relative to where it was.
        cached = None
    if not isinstance(cached, str):
        return Source(str(hf_model), megatron_bridge=_version(), revision=revision)
    return replace(_describe(str(hf_model), Path(cached)), revision=revision, commit=Path(cached).parent.name)


def _describe(made_of: str, config_file: Path, tensors_sha256: str | None = None) -> Source:
    config = read_json(config_file) if config_file.is_file() else None
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
        model = load_yaml(folder / RUN_CONFIG)["model"]
        # Models of later versions, which a builder makes, have it among their metadata.
        made_of = model.get("hf_model_id") or (model.get("extra_checkpoint_metadata") or {}).get("hf_model_id")
        revision = model.get("hf_model_revision")
    except (OSError, Unreadable, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(made_of, str) or not made_of:
        return None
    return Source(made_of, megatron_bridge=_version(), revision=revision if isinstance(revision, str) else None)


def write_source(source: Source, folder: Path) -> None:
    """Record what a release was made of.

    Args:
        source: The model.
        folder: Checkpoint folder.
    """
    # A new file, never the old one's bytes: another checkpoint folder may have those under a second name.
    (folder / SOURCE_FILE).unlink(missing_ok=True)
    (folder / SOURCE_FILE).write_text(json.dumps(vars(source), indent=2) + "\n", encoding="utf-8")


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
    texts = (source.config_sha256, source.weights_sha256, source.tensors_sha256, source.revision, source.commit)
    if not isinstance(source.made_of, str) or not all(text is None or isinstance(text, str) for text in texts):
        raise Unreadable(f"{SOURCE_FILE} cannot be read: a field of it is no text")
    if source.config is not None and not isinstance(source.config, dict):
        raise Unreadable(f"{SOURCE_FILE} cannot be read: config is no JSON object")
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
        held = read_source(Path(root) / RELEASE)
    except Unreadable:
        return None
    if Path(os.path.expanduser(hf_model)).exists():
        return None
    return (held.commit or held.revision) if held is not None and held.made_of == str(hf_model) else None


def require_source(root: str | Path, hf_model: str | Path | SourceModel) -> None:
    """Require that a root's release was made of a Hugging Face model.

    For a model ID, an equal name is enough; with a snapshot, an equal commit. Other snapshots and folders are told by
    their content, wherever they stand; a folder that is gone, by its path.

    Args:
        root: Checkpoint root.
        hf_model: Model ID, folder of a model, or a model of the Hub with its snapshot on this host.

    Raises:
        ValueError: If the release was made of another model, or does not say of which, or if there is none.
        OSError: If a file cannot be read.
    """
    folder, commit = Path(root) / RELEASE, None
    if isinstance(hf_model, SourceModel) and hf_model.commit is None:
        hf_model = hf_model.name
    name = str(hf_model)
    if isinstance(hf_model, SourceModel):
        name, commit = hf_model.name, hf_model.commit
    if not folder.is_dir():
        raise ValueError(f"{root} holds no release. Import {name} into another folder.")
    repair = repair_command(root)
    try:
        held = read_source(folder)
    except Unreadable as error:
        raise ValueError(f"{folder}: {error}. {repair or 'Import the model again.'}") from error
    if held is None:
        what_next = f"Where its run config knows, this records it: {repair}. Or give" if repair else "Give"
        raise ValueError(
            f"The release in {root} does not say which model it was made of, so it may be another than {name}. "
            f"{what_next} another folder."
        )
    if held.made_of == name and (commit == held.commit if commit else not Path(name).is_dir()):
        return
    asked = describe(hf_model)
    others = _differences(held, asked, hf_model.folder if isinstance(hf_model, SourceModel) else Path(asked.made_of))
    if held.made_of in (asked.made_of, name) and None in (commit, held.commit):
        if others:
            raise ValueError(
                f"{asked.made_of} has changed since {root} was made of it: its {' and its '.join(others)}. Import it into "
                "another folder."
            )
        return
    known = held.config_sha256 is not None and (held.tensors_sha256 or held.weights_sha256) is not None
    if others or not known or asked.tensors_sha256 is None:
        raise ValueError(
            f"{root} holds a release of {_name(held)}, not of {_name(asked)}. Import that into another folder."
        )


def _differences(held: Source, asked: Source, folder: Path) -> list[str]:
    """Return what of a model in a folder differs from a release's source, as far as both are known."""
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
            same = held.weights_sha256 in (None, digest_weight_files(folder))
        if not same:
            differences.append("weights")
    return differences


def _name(source: Source) -> str:
    return f"{source.made_of} at commit {source.commit}" if source.commit else source.made_of


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
