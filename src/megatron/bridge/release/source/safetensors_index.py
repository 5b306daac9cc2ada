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

"""Reads what a Hugging Face model's folder holds: the names, types and shapes of its tensors, without their values.

The format is safetensors' (a header of JSON before the bytes), with Hugging Face's index of several files,
``model.safetensors.index.json``.

Importing this module imports neither torch nor Megatron Core.
"""

import fnmatch
import json
import os
import shlex
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from megatron.bridge.release.errors import OptionError
from megatron.bridge.release.text import quote_if_unprintable


WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_ADAPTER_CONFIG = "adapter_config.json"
_GIT_LFS = b"version https://git-lfs"
_DOWNLOAD = "Download the model again."


@dataclass(frozen=True)
class TensorInfo:
    """What a file says of a tensor.

    Attributes:
        dtype: Its type, in safetensors' words: ``F32``, ``BF16``, ``F8_E4M3``, ...
        shape: Its shape.
        file: Name of the file that holds it.
    """

    dtype: str
    shape: tuple[int, ...]
    file: str


def refuse_adapter(folder: Path) -> None:
    """Refuse a folder that contains a LoRA adapter. Raise ValueError."""
    if (folder / _ADAPTER_CONFIG).exists():
        raise ValueError(
            f"{folder} contains a LoRA adapter ({_ADAPTER_CONFIG}), which transformers applies when it loads the model. "
            "Load it with PEFT, call merge_and_unload() and save_pretrained(), and import the merged model. If the weights "
            f"are merged already, remove {_ADAPTER_CONFIG}."
        )


def read_index(folder: Path) -> dict[str, TensorInfo]:
    """Read the headers of a model's safetensors files.

    Args:
        folder: The model's folder.

    Returns:
        What the files say of each tensor, by its name. Where there is an index, of the tensors and files that it
        names.

    Raises:
        ValueError: If a file is missing, cut short or no safetensors file, or if the index and the files differ. One
            line, which names the file and says what to do.
    """
    refuse_adapter(folder)
    index = _read_index(folder)
    if index is None:
        # Where there is none of this name, transformers reads nothing.
        if not (folder / WEIGHTS).is_file():
            raise ValueError(_no_safetensors(folder))
        files = [WEIGHTS]
    else:
        files = sorted(set(index.values()))
        missing = [name for name in files if not (folder / name).is_file()]
        if missing:
            tensors = sum(count for name, count in Counter(index.values()).items() if name in missing)
            raise ValueError(
                f"{folder / INDEX} names {_listed(missing)}, which {'is no file' if len(missing) == 1 else 'are no files'} there: "
                f"{tensors} of {len(index)} tensors are missing. {_DOWNLOAD}"
            )
        if (folder / WEIGHTS).is_file() and files != [WEIGHTS]:
            raise ValueError(
                f"{folder} contains two models: {WEIGHTS}, which transformers reads, and the files that {INDEX} names, "
                "which Megatron-Bridge reads. Move one of them away."
            )
    headers: dict[str, TensorInfo] = {}
    for file in files:
        for name, header in _read_file(folder / file).items():
            if index is not None and index.get(name) != file:
                raise ValueError(
                    f"{folder / file} contains the tensor {quote_if_unprintable(name)}, which {INDEX} does not list there: transformers would "
                    f"read it, and Megatron-Bridge would not. {_DOWNLOAD}"
                )
            headers[name] = header
    if index is not None and (absent := sorted(index.keys() - headers.keys())):
        raise ValueError(
            f"{folder / INDEX} names {len(absent)} tensors that its files do not contain: {_listed(absent)}. {_DOWNLOAD}"
        )
    return headers


def require_matches(patterns: Sequence[str], names: Collection[str]) -> None:
    """Require that each pattern of ``allow_unused_tensors`` matches a tensor of the model.

    Args:
        patterns: Patterns, as of `fnmatch`.
        names: Names of the model's tensors.

    Raises:
        OptionError: If a pattern matches none.
    """
    unmatched = [pattern for pattern in patterns if not any(fnmatch.fnmatchcase(name, pattern) for name in names)]
    if unmatched:
        raise OptionError(
            f"No tensor of the model matches {', '.join(map(repr, unmatched))}.",
            "allow_unused_tensors",
            "Correct the pattern in {option}, or remove it.",
        )


def require_usual_weights(named: object, weights: Any) -> None:
    """Require that a config names no file of weights of its own: only the usual names are looked for.

    Args:
        named: What stands for the config in the message.
        weights: The config's ``transformers_weights``; None where it has none.

    Raises:
        ValueError: If it names one. One line.
    """
    if weights is not None:
        raise ValueError(
            f"{named} has transformers_weights, the file {weights!r}, which Megatron-Bridge does not look for. "
            "Write the model again with save_pretrained."
        )


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(readable, names[:3]))
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _no_safetensors(folder: Path) -> str:
    if sharded := sorted(file.parent for file in folder.glob("*/.metadata")):
        return (
            f"The weights of {folder} are sharded by FSDP ({sharded[0].name}/). Merge them first: accelerate merge-weights "
            f"{shlex.quote(str(sharded[0]))} OUT, and copy config.json and the tokenizer's files to OUT."
        )
    found = sorted(file.name for file in folder.glob("*.safetensors"))
    if os.path.lexists(folder / WEIGHTS):
        return f"{folder / WEIGHTS} is no file, or a link to none. {_DOWNLOAD}"
    if len(found) == 1:
        return (
            f"The model {folder} has neither {WEIGHTS} nor {INDEX}, and transformers reads no other file. If "
            f"{quote_if_unprintable(found[0])} holds all of it, rename it to {WEIGHTS}."
        )
    if found:
        return (
            f"The model {folder} has {_listed(found)}, and no {INDEX} says which of their tensors are the model's: "
            "transformers cannot load it. Get that file from where the model is from."
        )
    others = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for file in folder.glob(pattern))
    if not others:
        return f"The model {folder} has no weights (*.safetensors). {_DOWNLOAD}"
    return (
        f"The model {folder} has no safetensors files, but {_listed(others)}. Convert it first: load it with "
        "transformers' AutoModelForCausalLM.from_pretrained and write it with save_pretrained."
    )


def _read_index(folder: Path) -> dict[str, str] | None:
    path = folder / INDEX
    if not path.is_file():
        if os.path.lexists(path):
            raise ValueError(
                f"{path} is no file, or a link to none. Get it again from where the model is from, or remove it where "
                f"{WEIGHTS} is the whole model."
            )
        return None
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        if not names or not all(isinstance(file, str) and Path(file).name == file for file in names.values()):
            raise ValueError("weight_map gives no file names")
        return dict(names)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}). {_DOWNLOAD}") from None


def _read_file(path: Path) -> dict[str, TensorInfo]:
    if not path.is_file():
        raise ValueError(f"{path} is no file, or a link to none. Move it away, or download the model again.")
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}
            return {
                name: TensorInfo(tensor.get_dtype(), tuple(tensor.get_shape()), path.name)
                for name, tensor in slices.items()
            }
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} {_damage(path, error)}") from None


def _damage(path: Path, error: Exception) -> str:
    try:
        with open(path, "rb") as file:
            if file.read(len(_GIT_LFS)) == _GIT_LFS:
                return "is a Git LFS pointer, not the file itself. Run `git lfs pull` in the model's folder."
    except OSError as unreadable:
        return f"cannot be read ({unreadable.strerror}). See that it is a file that this user can read."
    return f"is no whole safetensors file, {path.stat().st_size:,} bytes long ({error}). {_DOWNLOAD}"
