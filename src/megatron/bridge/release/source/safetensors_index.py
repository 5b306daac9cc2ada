# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The tensors of a Hugging Face model: which safetensors files contain them, and what their headers declare.

The one parser of safetensors headers. A file consists of the length of the header (8 bytes, little-endian), the header
(JSON), and the bytes of the tensors at the ``data_offsets`` in the header, counted from its end. Several files have an
index, ``model.safetensors.index.json``.

Importing this module imports neither torch nor Megatron Core.
"""

import fnmatch
import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from pathlib import Path
from typing import Any, BinaryIO

from megatron.bridge.release.source.errors import (
    AdapterError,
    CorruptIndexError,
    CorruptWeightsError,
    CustomWeightsFileError,
    GitLfsPointerError,
    MissingShardsError,
    NotModelFileError,
    TensorsNotInShardsError,
    TwoModelsError,
    UnlistedTensorError,
    UnmatchedPatternsError,
    UnreadableFileError,
    WeightsNotFoundError,
)


WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_ADAPTER_CONFIG = "adapter_config.json"
_GIT_LFS = b"version https://git-lfs"

# The limit of the safetensors library, in bytes.
_MAX_HEADER = 100_000_000
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
# Size of each of the two samples of a tensor that its digest covers, in bytes.
_SAMPLE = 1024


@dataclass(frozen=True)
class TensorInfo:
    """Declaration of a tensor in the header of a safetensors file.

    Attributes:
        dtype: Its dtype as safetensors spells it: ``F32``, ``BF16``, ``F8_E4M3``, ...
        shape: Its shape.
        file: Name of the file.
        begin: Offset of its first byte in the file.
        end: Offset after its last byte in the file.
    """

    dtype: str
    shape: tuple[int, ...]
    file: str
    begin: int = 0
    end: int = 0


def refuse_adapter(folder: Path) -> None:
    """Raise `AdapterError` if a directory contains a LoRA adapter."""
    if (folder / _ADAPTER_CONFIG).exists():
        raise AdapterError(folder)


def read_index(folder: Path) -> dict[str, TensorInfo]:
    """Read the headers of all weight files of a model, and compare them with its index.

    Args:
        folder: Local directory of the model.

    Returns:
        The tensors by name.

    Raises:
        ReleaseError: If a file is missing, truncated or corrupt, or if the index and the files differ.
    """
    refuse_adapter(folder)
    weight_map = _read_weight_map(folder)
    if weight_map is None:
        # transformers loads nothing unless a file has this exact name.
        if not (folder / WEIGHTS).is_file():
            raise _weights_not_found(folder)
        files = [WEIGHTS]
    else:
        files = sorted(set(weight_map.values()))
        missing = tuple(name for name in files if not (folder / name).is_file())
        if missing:
            tensors = sum(count for name, count in Counter(weight_map.values()).items() if name in missing)
            raise MissingShardsError(folder / INDEX, missing, tensors, len(weight_map))
        if (folder / WEIGHTS).is_file() and files != [WEIGHTS]:
            raise TwoModelsError(folder)
    index: dict[str, TensorInfo] = {}
    for file in files:
        for name, tensor in _read_file(folder / file).items():
            if weight_map is not None and weight_map.get(name) != file:
                raise UnlistedTensorError(folder / file, name)
            index[name] = tensor
    if weight_map is not None and (absent := sorted(weight_map.keys() - index.keys())):
        raise TensorsNotInShardsError(folder / INDEX, tuple(absent))
    return index


def weight_files(found: Sequence[str]) -> Sequence[str]:
    """Return which of the safetensors files of a directory without an index contain the model.

    transformers reads ``model.safetensors`` alone if it exists.
    """
    return [file for file in found if os.path.basename(file) == WEIGHTS and os.path.isfile(file)] or found


def digest_tensors(folder: Path) -> str | None:
    """Compute a digest of the names, dtypes, shapes and first and last bytes of a model's tensors.

    It is the same however the tensors are distributed over files.

    Args:
        folder: Local directory of the model. It need not be complete.

    Returns:
        SHA-256 in hexadecimal; None if there are no safetensors files.

    Raises:
        ReleaseError: If a file is corrupt.
        OSError: If a file cannot be read.
    """
    weight_map = _read_weight_map(folder)
    if weight_map is None:
        paths = [Path(file) for file in weight_files([str(path) for path in folder.glob("*.safetensors")])]
    else:
        paths = [folder / name for name in set(weight_map.values())]
    digests: dict[str, bytes] = {}
    for path in paths:
        with open(path, "rb") as file:
            for name, tensor in parse_header(file, path).items():
                sha256 = hashlib.sha256(json.dumps([name, tensor.dtype, tensor.shape]).encode())
                for sample in _samples(file, tensor):
                    sha256.update(len(sample).to_bytes(8, "little") + sample)
                digests[name] = sha256.digest()
    if not digests:
        return None
    return hashlib.sha256(b"".join(digests[name] for name in sorted(digests))).hexdigest()


def parse_header(file: BinaryIO, path: Path) -> dict[str, TensorInfo]:
    """Parse the header of a safetensors file, with the checks of the safetensors library.

    Args:
        file: The file, at its beginning.
        path: Its path.

    Returns:
        The tensors by name.

    Raises:
        CorruptWeightsError: If the file is truncated, or its tensors overlap, leave gaps or have wrong sizes.
        GitLfsPointerError: If it is a Git LFS pointer.
    """
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if start == _GIT_LFS[:8] and file.read(len(_GIT_LFS) - 8) == _GIT_LFS[8:]:
        raise GitLfsPointerError(path)
    try:
        if len(start) < 8:
            raise ValueError("the length of the header is missing")
        if length > _MAX_HEADER:
            raise ValueError(f"its header would be {length:,} bytes long")
        if 8 + length > size:
            raise ValueError(f"its header ends at byte {8 + length:,}")
        return _parse_tensors(file.read(length), size - 8 - length, 8 + length, path.name)
    except RecursionError:
        raise CorruptWeightsError(path, size, "its header is not valid JSON") from None
    except ValueError as error:
        raise CorruptWeightsError(path, size, str(error)) from None


def _parse_tensors(header: bytes, available: int, start: int, file: str) -> dict[str, TensorInfo]:
    """Parse a header. Raise ValueError, whose text is the reason, if it does not fit the size of the file."""
    entries = json.loads(header.decode("utf-8"), object_pairs_hook=_unique_names, parse_constant=_refuse_constant)
    if not isinstance(entries, dict):
        raise ValueError("its header is not a JSON object")
    metadata = entries.pop("__metadata__", None)
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise ValueError("__metadata__ is not a table of strings")
    tensors = {name: _parse_tensor(name, entry, start, file) for name, entry in sorted(entries.items())}
    # By their ends, too: an empty tensor begins where the next one does.
    at = start
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != at:
            raise ValueError(f"{name!r} begins at byte {tensor.begin:,}, where the previous tensor does not end")
        at = tensor.end
    if at != start + available:
        raise ValueError(f"its tensors end at byte {at:,}")
    return tensors


def _parse_tensor(name: str, entry: Any, start: int, file: str) -> TensorInfo:
    # Raises a ValueError for lone surrogates, which UTF-8 cannot encode.
    name.encode()
    if not isinstance(entry, dict):
        raise ValueError(f"{name!r} is not a JSON object")
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise ValueError(f"{name!r} has the unknown dtype {dtype!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{name!r} has no valid shape and data_offsets")
    bits = [*accumulate([_BITS[dtype], *shape], mul)]
    begin, end = offsets
    if max(bits) >= 2**64 or (end - begin) * 8 != bits[-1]:
        raise ValueError(f"{name!r} has {end - begin:,} bytes, which do not fit its dtype {dtype} and shape {shape}")
    return TensorInfo(dtype, tuple(shape), file, start + begin, start + end)


def _are_sizes(values: Any) -> bool:
    # A bool is an int for Python, but not in JSON. Sizes are 64-bit integers.
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**64 for value in values)


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        name = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"its header contains {name!r} more than once")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"its header contains {name}")


def _samples(file: BinaryIO, tensor: TensorInfo) -> Iterator[bytes]:
    """Yield the first and the last bytes of a tensor."""
    for begin, end in (
        (tensor.begin, min(tensor.begin + _SAMPLE, tensor.end)),
        (max(tensor.begin, tensor.end - _SAMPLE), tensor.end),
    ):
        file.seek(begin)
        yield file.read(end - begin)


def require_matches(patterns: Sequence[str], names: Collection[str]) -> None:
    """Require that each pattern of ``allow_unused_tensors`` matches the name of a tensor.

    Raises:
        UnmatchedPatternsError: If one matches none.
    """
    unmatched = [pattern for pattern in patterns if not any(fnmatch.fnmatchcase(name, pattern) for name in names)]
    if unmatched:
        raise UnmatchedPatternsError(tuple(unmatched))


def require_usual_weights(config: Path | str, weights: Any) -> None:
    """Require that a config declares no weight file of its own.

    Args:
        config: Path of the config, or the name of the model.
        weights: Its ``transformers_weights``.

    Raises:
        CustomWeightsFileError: If it is not None.
    """
    if weights is not None:
        raise CustomWeightsFileError(config, str(weights))


def _weights_not_found(folder: Path) -> WeightsNotFoundError | NotModelFileError:
    if sharded := sorted(file.parent.name for file in folder.glob("*/.metadata")):
        return WeightsNotFoundError(folder, (sharded[0],), "fsdp")
    found = tuple(sorted(file.name for file in folder.glob("*.safetensors")))
    if os.path.lexists(folder / WEIGHTS):
        return NotModelFileError(folder / WEIGHTS)
    if found:
        return WeightsNotFoundError(folder, found, "other name" if len(found) == 1 else "no index")
    others = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for file in folder.glob(pattern))
    return WeightsNotFoundError(folder, tuple(others), "other format" if others else "none")


def _read_weight_map(folder: Path) -> dict[str, str] | None:
    path = folder / INDEX
    if not path.is_file():
        if os.path.lexists(path):
            raise NotModelFileError(path)
        return None
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        if not names or not all(isinstance(file, str) and Path(file).name == file for file in names.values()):
            raise ValueError("weight_map does not contain file names")
        return dict(names)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptIndexError(path, f"{type(error).__name__}: {error}") from None


def _read_file(path: Path) -> dict[str, TensorInfo]:
    try:
        with open(path, "rb") as file:
            return parse_header(file, path)
    except OSError as error:
        raise UnreadableFileError(path, error.strerror or str(error)) from None
