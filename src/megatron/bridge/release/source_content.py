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

"""Compares the content of Hugging Face models: their tensors, and the config fields that affect a conversion.

Equal models may be stored in different files, and their configs in different forms. A digest of the tensors covers their
names, dtypes, shapes and a sample of their values.

Importing this module imports neither torch nor Megatron Core.
"""

import copy
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO


# Fields that affect neither the converted weights nor the logits.
HARMLESS_FIELDS = frozenset(
    {
        *(
            "_attn_implementation",
            "_attn_implementation_autoset",
            "_commit_hash",
            "_name_or_path",
            "attn_implementation",
        ),
        *("bos_token_id", "chunk_size_feed_forward", "decoder_start_token_id", "eos_token_id", "id2label"),
        *("initializer_range", "is_encoder_decoder", "label2id", "output_attentions", "output_hidden_states"),
        *("output_router_logits", "pad_token_id", "pretraining_tp", "problem_type", "return_dict"),
        *("router_aux_loss_coef", "transformers_version", "unk_token_id", "use_cache"),
    }
)

_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"
_SAMPLE = 1024


def differing_fields(config: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Compare two configs of models.

    Args:
        config: Content of a config.json.
        other: Content of another.

    Returns:
        The names of fields that differ and may change the conversion, sorted.
    """
    if config == other:
        return []
    one, two = _normalized(config), _normalized(other)
    return sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))


def _normalized(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with its defaults, in the form of the installed transformers, without harmless fields."""
    # It takes seconds to import.
    from megatron.bridge.release.compat.transformers_api import CONFIG_MAPPING

    values = copy.deepcopy(config)
    if config.get("model_type") in CONFIG_MAPPING and not config.get("auto_map"):
        try:
            values = CONFIG_MAPPING[config["model_type"]].from_dict(values).to_dict()
        except Exception:
            # transformers raises many kinds for a config that it does not read. Its fields are compared as they are.
            values = copy.deepcopy(config)
    return _without_harmless(values)


def _without_harmless(values: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in values.items() if name not in HARMLESS_FIELDS}
    if "torch_dtype" in kept:
        # The name of dtype before transformers 4.56.
        kept.setdefault("dtype", kept.pop("torch_dtype"))
    for name, value in kept.items():
        if name.endswith("_config") and isinstance(value, dict):
            kept[name] = _without_harmless(value)
    if isinstance(rope := kept.get("rope_parameters"), dict):
        # The name of rope_type before transformers 4.43.
        kept["rope_parameters"] = {
            name: value for name, value in rope.items() if name != "type" or "rope_type" not in rope
        }
    return kept


def digest_tensors(folder: Path) -> str | None:
    """Return a digest of a model's tensors, which is the same however they are distributed over files.

    Args:
        folder: The model's folder.

    Returns:
        The digest; None if the folder has no safetensors files.

    Raises:
        ValueError: If a file is damaged.
        OSError: If a file cannot be read.
    """
    digests: dict[str, bytes] = {}
    for path in _weight_files(folder):
        with open(path, "rb") as file:
            begin, tensors = _read_header(file, path)
            for name, entry in tensors.items():
                sha256 = hashlib.sha256(json.dumps([name, entry["dtype"], entry["shape"]]).encode())
                for sample in _samples(file, begin, *entry["data_offsets"]):
                    sha256.update(len(sample).to_bytes(8, "little") + sample)
                digests[name] = sha256.digest()
    if not digests:
        return None
    return hashlib.sha256(b"".join(digests[name] for name in sorted(digests))).hexdigest()


def digest_weight_files(folder: Path) -> str | None:
    """Return the digest of a model's weight files that the first releases recorded. It depends on the division into files.

    Args:
        folder: The model's folder.

    Returns:
        The digest; None if the folder has no safetensors files.

    Raises:
        ValueError: If a file is damaged.
        OSError: If a file cannot be read.
    """
    paths = _weight_files(folder)
    sha256 = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            begin, tensors = _read_header(file, path)
            places = sorted(tuple(entry["data_offsets"]) for entry in tensors.values())
            file.seek(8)
            parts = [os.fstat(file.fileno()).st_size.to_bytes(8, "little"), file.read(begin - 8)]
            parts += [sample for place in places for sample in _samples(file, begin, *place)]
            for part in parts:
                sha256.update(len(part).to_bytes(8, "little") + part)
    return sha256.hexdigest() if paths else None


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object of a model.

    Raises:
        ValueError: If it is none.
        OSError: If the file cannot be read.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not valid JSON ({error}). Restore it from the model.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{file} contains no JSON object. Restore it from the model.")
    return values


def _weight_files(folder: Path) -> list[Path]:
    if (folder / _INDEX).is_file():
        names = {name for name in read_json(folder / _INDEX).get("weight_map", {}).values() if isinstance(name, str)}
    else:
        # Beside the whole model, other files are none of it.
        names = {path.name for path in folder.glob("*.safetensors")}
        names = {_WEIGHTS} if (folder / _WEIGHTS).is_file() else names
    return [folder / name for name in sorted(names)]


def _read_header(file: BinaryIO, path: Path) -> tuple[int, dict[str, Any]]:
    """Return where a safetensors file's values begin, and its tensors by their names."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    header = file.read(length) if 8 + length <= size else b""
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        for entry in tensors.values():
            begin, end = entry["data_offsets"]
            entry["data_offsets"] = int(begin), int(end)
            # Both must be there.
            entry["dtype"], entry["shape"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not a safetensors file, or is corrupt. Download it again.") from error
    return 8 + length, tensors


def _samples(file: BinaryIO, values: int, begin: int, end: int) -> Iterator[bytes]:
    """Yield the beginning and the end of a tensor."""
    for first, last in ((begin, min(begin + _SAMPLE, end)), (max(begin, end - _SAMPLE), end)):
        file.seek(values + first)
        yield file.read(last - first)
