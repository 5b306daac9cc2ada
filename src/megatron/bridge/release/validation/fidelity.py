# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Checks that a release reproduces its source model: tensors, config and tokenizer, before any weight is read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PretrainedConfig

from megatron.bridge.models.hf_pretrained.state import SafeTensorsStateSource
from megatron.bridge.release.errors import ReleaseWarning, warn
from megatron.bridge.release.layout import DTYPES as DTYPES_OF_RELEASES
from megatron.bridge.release.source.dtypes import FLOAT_DTYPES, TORCH_DTYPES
from megatron.bridge.release.source.safetensors_index import TensorInfo, read_index, require_matches
from megatron.bridge.release.validation.config import ConfigReport, check_config
from megatron.bridge.release.validation.errors import UnsupportedDtypeError
from megatron.bridge.release.validation.model_errors import (
    CastWarning,
    SkippedTensorsWarning,
    TensorMismatchError,
    TensorProblem,
    TiedOutputProblem,
    UnknownFieldsWarning,
    UnsupportedConfigError,
    WaivedConfigWarning,
)
from megatron.bridge.release.validation.preflight import check_lists
from megatron.bridge.release.validation.tensors import TensorCoverage, check_tensors
from megatron.bridge.release.validation.tokenizer import check_tokenizer, tokenizer_keywords


# Rows of an embedding that are compared at a time.
_ROWS = 4096


@dataclass(frozen=True)
class FidelityReport:
    """Result of the checks of a model that can be imported.

    Attributes:
        waived: Differences from the model that the user allowed, a sentence each.
        headers: Headers of its tensors, by their names; empty for a model of a config alone.
        coverage: How each tensor is converted.
    """

    waived: tuple[str, ...]
    headers: Mapping[str, TensorInfo]
    coverage: TensorCoverage


def check_fidelity(
    bridge: Any,
    allow_unused_tensors: Sequence[str] = (),
    allow_config_fields: Sequence[str] = (),
    tokenizer_path: str | Path | None = None,
    tokenizer_kwargs: Mapping[str, Any] | None = None,
    headers: Mapping[str, TensorInfo] | None = None,
) -> FidelityReport:
    """Check that a release can reproduce a Hugging Face model. Not collective.

    It reads the headers of the files, and the values of an output layer that the config ties to the embedding. For a
    bridge of a config alone, it checks the config. It sets the dtype of a config that has none to that of the weights.

    Args:
        bridge: The `AutoBridge` of the model.
        allow_unused_tensors: Patterns, as of `fnmatch`, of unused tensors to skip.
        allow_config_fields: Names of config fields to ignore.
        tokenizer_path: Model ID or directory of the tokenizer; None to check no tokenizer.
        tokenizer_kwargs: Keywords for loading it; the bridge's if None.
        headers: Headers of the tensors, if they have been read.

    Raises:
        UnsupportedConfigError: If Megatron-LM would compute another function.
        TensorMismatchError: If the tensors are not those that the config implies.
        ReleaseError: If the config or the tokenizer is invalid, or if an option names nothing in the model.
        RuntimeError: If this host cannot build the model, without Transformer Engine or CUDA.
    """
    check_lists(allow_unused_tensors=allow_unused_tensors, allow_config_fields=allow_config_fields)
    has_weights = hasattr(bridge.hf_pretrained, "state")
    config = bridge.hf_pretrained.config if has_weights else bridge.hf_pretrained
    model = bridge.hf_pretrained.model_name_or_path if has_weights else config.name_or_path or "the model"
    if bridge.source_model is not None:
        model = bridge.source_model.name
    config_report = check_config(config, allow_config_fields)
    problems = tuple(config_report.refused)
    if headers is None:
        headers = _read_headers(bridge.hf_pretrained.state.source) if has_weights else {}
    require_matches(allow_unused_tensors, headers)
    coverage = TensorCoverage()
    try:
        if has_weights:
            coverage = _check_tensors(bridge, model, headers, allow_unused_tensors)
    except (ValueError, RuntimeError) as error:
        if problems:
            raise UnsupportedConfigError(model, problems, error) from error
        raise
    if problems:
        raise UnsupportedConfigError(model, problems)
    if has_weights:
        _warn_of_casts(config, coverage, headers)
    if tokenizer_path is not None:
        check_tokenizer(
            tokenizer_path, tokenizer_keywords(bridge) if tokenizer_kwargs is None else tokenizer_kwargs, config
        )
    return FidelityReport(_warn_of_differences(model, config, config_report, coverage), headers, coverage)


def _warn_of_differences(
    model: str, config: Any, config_report: ConfigReport, coverage: TensorCoverage
) -> tuple[str, ...]:
    """Warn of the differences that the user allowed and of those that are unknown; return the former."""
    waived: list[ReleaseWarning] = []
    if config_report.waived:
        waived.append(WaivedConfigWarning(model, tuple(config_report.waived)))
    if coverage.skipped:
        waived.append(SkippedTensorsWarning(model, tuple(coverage.skipped)))
    for warning in waived:
        warn(warning)
    if config_report.unknown:
        warn(UnknownFieldsWarning(model, tuple(config_report.unknown)))
    return tuple(map(str, waived))


def _check_tensors(
    bridge: Any, model: str, headers: Mapping[str, TensorInfo], allow_unused_tensors: Sequence[str]
) -> TensorCoverage:
    source = bridge.hf_pretrained.state.source
    settle_dtype(bridge.hf_pretrained, headers)
    coverage = check_tensors(bridge, headers, allow_unused_tensors)
    coverage.problems += _tied_problems(source, coverage, headers)
    if coverage.problems:
        raise TensorMismatchError(model, tuple(coverage.problems))
    return coverage


def _read_headers(source: Any) -> dict[str, TensorInfo]:
    if isinstance(source, SafeTensorsStateSource):
        return read_index(source.path)
    # The model is in memory.
    names = {dtype: name for name, dtype in TORCH_DTYPES.items()}
    tensors = source.load_tensors(source.get_all_keys())
    return {name: TensorInfo(names[tensor.dtype], tuple(tensor.shape), "memory") for name, tensor in tensors.items()}


def settle_dtype(hf_pretrained: Any, headers: Mapping[str, TensorInfo]) -> None:
    """Set the dtype of a config and its parts: the requested one, else the config's, else that of most weights.

    Raises:
        UnsupportedDtypeError: If a release cannot have it.
    """
    config = hf_pretrained.config
    requested = getattr(hf_pretrained, "torch_dtype", None)
    if isinstance(requested, torch.dtype):
        config.dtype = requested
    elif config.dtype == "auto":
        # dtype="auto" has overwritten the value from config.json. Read it again.
        values, _ = PretrainedConfig.get_config_dict(
            hf_pretrained.model_name_or_path, revision=hf_pretrained.init_kwargs.get("revision")
        )
        config.dtype = values.get("dtype", values.get("torch_dtype"))
    if config.dtype is None and config.get_text_config() is not config:
        config.dtype = config.get_text_config().dtype
    if config.dtype is None:
        sizes: Counter[torch.dtype] = Counter()
        for header in headers.values():
            if (dtype := TORCH_DTYPES.get(header.dtype)) in FLOAT_DTYPES:
                sizes[dtype] += torch.Size(header.shape).numel()
        if sizes:
            (most_common, _), *_ = sizes.most_common(1)
            config.dtype = torch.float32 if most_common is torch.float64 else most_common
    name = str(config.dtype).removeprefix("torch.")
    if name not in DTYPES_OF_RELEASES:
        raise UnsupportedDtypeError(name, f"the config of {hf_pretrained.model_name_or_path}", DTYPES_OF_RELEASES)
    _set_dtype(config, getattr(torch, name))


def _set_dtype(config: Any, dtype: torch.dtype) -> None:
    config.dtype = dtype
    # Bridges of vision-language models read the dtype of the text model's config, where it may be missing.
    for name in getattr(config, "sub_configs", ()):
        if (inner := getattr(config, name, None)) is not None:
            _set_dtype(inner, dtype)


def _warn_of_casts(config: Any, coverage: TensorCoverage, headers: Mapping[str, TensorInfo]) -> None:
    wider = {
        torch.float32: ("F64",),
        torch.bfloat16: ("F64", "F32", "F16"),
        torch.float16: ("F64", "F32", "BF16"),
    }[config.dtype]
    cast = coverage.used - (coverage.float32 if config.dtype is not torch.float32 else set())
    counts = Counter(headers[name].dtype for name in cast if headers[name].dtype in wider)
    if counts:
        by_name = {str(TORCH_DTYPES[dtype]).removeprefix("torch."): count for dtype, count in counts.items()}
        warn(CastWarning(by_name, len(coverage.used), str(config.dtype).removeprefix("torch.")))


def _tied_problems(source: Any, coverage: TensorCoverage, headers: Mapping[str, TensorInfo]) -> list[TensorProblem]:
    """Compare output layers that the config ties to the embedding, bit by bit, in the wider dtype."""
    problems: list[TensorProblem] = []
    for name, embedding in coverage.tied.items():
        output_header, embedding_header = headers[name], headers[embedding]
        is_comparable = output_header.dtype == embedding_header.dtype or all(
            TORCH_DTYPES.get(header.dtype) in FLOAT_DTYPES for header in (output_header, embedding_header)
        )
        if output_header.shape != embedding_header.shape or not is_comparable:
            is_equal = False
        elif isinstance(source, SafeTensorsStateSource):
            is_equal = _equal_rows(source.path, headers, name, embedding)
        else:
            tensors = source.load_tensors([name, embedding])
            is_equal = _are_equal(tensors[name], tensors[embedding])
        if not is_equal:
            problems.append(TiedOutputProblem(name, embedding))
    return problems


def _equal_rows(folder: Path, headers: Mapping[str, TensorInfo], name: str, other_name: str) -> bool:
    with (
        safe_open(folder / headers[name].file, framework="pt") as file,
        safe_open(folder / headers[other_name].file, framework="pt") as other_file,
    ):
        if not headers[name].shape:
            return _are_equal(file.get_tensor(name), other_file.get_tensor(other_name))
        slices = file.get_slice(name), other_file.get_slice(other_name)
        return all(
            _are_equal(*(tensor[row : row + _ROWS] for tensor in slices))
            for row in range(0, headers[name].shape[0], _ROWS)
        )


def _are_equal(tensor: torch.Tensor, other: torch.Tensor) -> bool:
    dtype = torch.promote_types(tensor.dtype, other.dtype) if tensor.dtype != other.dtype else tensor.dtype
    return torch.equal(*(each.to(dtype).reshape(-1).contiguous().view(torch.uint8) for each in (tensor, other)))
