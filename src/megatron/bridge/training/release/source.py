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

The weights of a local folder are told by the headers and sizes of its safetensors files and a little of every tensor:
a look that takes no reading of all, and is the same where the folder has moved.

`megatron.bridge_release` has a link to this file: it imports neither torch nor megatron.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

from .commands import repair_command
from .layout import RELEASE, RUN_CONFIG, SOURCE_FILE
from .plain_files import Unreadable, load_yaml


# What transformers writes anew into a model that stays the same.
_VOLATILE = ("_attn_implementation_autoset", "_commit_hash", "_name_or_path", "transformers_version")

_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"
_SAMPLE = 1024


@dataclass(frozen=True)
class Source:
    """What a release was made of.

    Attributes:
        made_of: The ID on the Hugging Face Hub, or the absolute folder.
        config_sha256: Digest of its config; None where it is not known.
        weights_sha256: Fingerprint of a folder's weights; None where it is not known.
        megatron_bridge: Version of Megatron-Bridge that wrote the release.
        let_through: What the release lacks of it, with its maker's consent, a sentence each.
    """

    made_of: str
    config_sha256: str | None = None
    weights_sha256: str | None = None
    megatron_bridge: str = ""
    let_through: tuple[str, ...] = ()


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
        config, made_of = folder / "config.json", os.path.abspath(folder)
        return Source(made_of, config.is_file() and _digest_config(config) or None, _fingerprint(folder), _version())
    if _is_path(hf_model):
        return Source(os.path.abspath(folder), megatron_bridge=_version())
    # It takes a moment to import. What has been converted is in its cache.
    from huggingface_hub import try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(str(hf_model), "config.json")
    except ValueError:
        # No ID: a folder that is not there, given relative to where it was.
        cached = None
    return Source(str(hf_model), _digest_config(Path(cached)) if isinstance(cached, str) else None, None, _version())


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
    except (OSError, Unreadable, KeyError, TypeError, AttributeError):
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
    # What was let through is not in those of the first versions.
    if not isinstance(told, dict) or {*told, "let_through"} != known:
        raise Unreadable(f"{SOURCE_FILE} cannot be read: it has other fields than a source")
    let_through = told.pop("let_through", [])
    if not isinstance(let_through, list) or not all(isinstance(text, str) for text in let_through):
        raise Unreadable(f"{SOURCE_FILE} cannot be read: let_through is no list of texts")
    source = Source(**told, let_through=tuple(let_through))
    digests = (source.config_sha256, source.weights_sha256)
    if not isinstance(source.made_of, str) or not all(digest is None or isinstance(digest, str) for digest in digests):
        raise Unreadable(f"{SOURCE_FILE} cannot be read: a field of it is no text")
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
    others = [
        name
        for name, one, other in (
            ("config", held.config_sha256, asked.config_sha256),
            ("weights", held.weights_sha256, asked.weights_sha256),
        )
        if one is not None and other is not None and one != other
    ]
    if held.made_of in (asked.made_of, str(hf_model)):
        if others:
            raise ValueError(
                f"{asked.made_of} has changed since {root} was made of it: its {' and its '.join(others)}. Import it into "
                "another folder."
            )
        return
    known = None not in (held.config_sha256, held.weights_sha256)
    if others or not known or asked.weights_sha256 is None:
        raise ValueError(
            f"{root} holds a release of {held.made_of}, not of {asked.made_of}. Import that into another folder."
        )


def _is_path(hf_model: str | Path) -> bool:
    """Return whether a name is a folder's, there or not, and no ID, which is "name" or "organization/name"."""
    return str(hf_model).startswith((".", "/", "~")) or str(hf_model).count("/") > 1


def _version() -> str:
    try:
        return version("megatron-bridge")
    except PackageNotFoundError:
        # Run from a checkout.
        return ""


def _digest_config(file: Path) -> str:
    config = _read_json(file)
    kept = {name: value for name, value in config.items() if name not in _VOLATILE}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _fingerprint(folder: Path) -> str | None:
    """Return a digest of a folder's weights; None where it has no safetensors."""
    if (folder / _INDEX).is_file():
        names = {name for name in _read_json(folder / _INDEX).get("weight_map", {}).values() if isinstance(name, str)}
    else:
        # Beside the whole model, other files are none of it.
        names = {path.name for path in folder.glob("*.safetensors")}
        names = {_WEIGHTS} if (folder / _WEIGHTS).is_file() else names
    if not names:
        return None
    sha256 = hashlib.sha256()
    for name in sorted(names):
        with open(folder / name, "rb") as file:
            for part in _samples(file, folder / name):
                sha256.update(len(part).to_bytes(8, "little") + part)
    return sha256.hexdigest()


def _samples(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield a safetensors file's size, its header, and the beginning and the end of each of its tensors."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    header = file.read(length) if 8 + length <= size else b""
    yield size.to_bytes(8, "little")
    yield header
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        places = sorted((int(begin), int(end)) for begin, end in (entry["data_offsets"] for entry in tensors.values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is no safetensors file, or a damaged one. Download it again.") from error
    for begin, end in places:
        for first, last in ((begin, min(begin + _SAMPLE, end)), (max(begin, end - _SAMPLE), end)):
            file.seek(8 + length + first)
            yield file.read(last - first)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is no JSON ({error}). Restore it from the model.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} holds no JSON object. Restore it from the model.")
    return values
