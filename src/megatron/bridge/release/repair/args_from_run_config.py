# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Derives Megatron-LM's args from the run config that an import wrote."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from megatron.bridge.release.checkpoint_dir import read_run_config
from megatron.bridge.release.compat.checkpoint_format import GELU
from megatron.bridge.release.errors import one_line
from megatron.bridge.release.layout import RELEASE, RUN_CONFIG, TOKENIZER
from megatron.bridge.release.repair.errors import RunConfigError
from megatron.bridge.release.verify.args import EMBEDDING, find_args_problem
from megatron.bridge.release.verify.dcp_metadata import Tensor, read_metadata


def tokenizer_dir(path: Path) -> str:
    """Return the absolute path of the tokenizer in the release of a checkpoint directory."""
    return str(path.absolute() / RELEASE / TOKENIZER)


def derive_args(path: Path, folder: Path) -> argparse.Namespace:
    """Derive Megatron-LM's args from the run config. Nothing that it names is imported or called.

    Args:
        path: Checkpoint directory.
        folder: Checkpoint with the run config.

    Raises:
        RunConfigError: If the args do not match the tensors, or if the model's class is unknown.
        CorruptFileError: If a file is corrupt.
        OSError: If a file cannot be read.
    """
    try:
        metadata = read_metadata(folder)
        args = _args_of_run_config(path, folder, metadata.tensors.get(EMBEDDING))
        problem = find_args_problem(vars(args), metadata)
    except (ArithmeticError, AttributeError, KeyError, TypeError) as error:
        raise RunConfigError(folder / RUN_CONFIG, one_line(error), "mismatch") from error
    if problem is not None:
        raise RunConfigError(folder / RUN_CONFIG, str(problem), "mismatch")
    return args


def _args_of_run_config(path: Path, folder: Path, embedding: Tensor | None) -> argparse.Namespace:
    from megatron.bridge.models.model_provider import ModelProviderMixin
    from megatron.bridge.release.write.sidecar_files import release_args, warn_unsupported_fields

    config = read_run_config(folder)
    name = config["model"]["_target_"]
    providers = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in _subclasses(ModelProviderMixin)}
    if name not in providers:
        raise RunConfigError(folder / RUN_CONFIG, repr(name), "unknown model class")
    # The config contains all values, so __init__ has nothing to compute.
    model: Any = object.__new__(providers[name])
    known = _known_objects()
    vars(model).update({key: _plain_value(value, known) for key, value in config["model"].items()})
    tokenizer = SimpleNamespace(**config["tokenizer"]) if config.get("tokenizer") else None
    args = release_args(model, tokenizer, path)
    if (folder / TOKENIZER).is_dir():
        # The run config may contain a path relative to the working directory of the import.
        args.tokenizer_model = tokenizer_dir(path)
    args.world_size = args.tensor_model_parallel_size * args.pipeline_model_parallel_size * args.context_parallel_size
    args.data_parallel_size = 1
    if embedding is not None and args.padded_vocab_size != embedding.shape[0]:
        # Upstream's imports pad the vocabulary as the provider does, or not at all.
        args.padded_vocab_size = embedding.shape[0]
        args.make_vocab_size_divisible_by = model.make_vocab_size_divisible_by
    warn_unsupported_fields(model)
    return args


def _subclasses(cls: type) -> Iterator[type]:
    subclass: type
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _known_objects() -> dict[str, Any]:
    """Return the objects in a run config that Megatron-LM's args depend on, by their names."""
    import torch
    import torch.nn.functional as F
    from megatron.core.activations import squared_relu
    from megatron.core.fusions.fused_bias_geglu import quick_gelu
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_decoder_block_spec

    from megatron.bridge.models.gpt_provider import default_layer_spec

    functions = (F.silu, squared_relu, quick_gelu, get_gpt_decoder_block_spec, default_layer_spec)
    return {
        **{f"{function.__module__}.{function.__name__}": function for function in functions},
        # Its name in a run config depends on the version of torch.
        "torch.nn.functional.gelu": F.gelu,
        GELU: F.gelu,
        **{f"torch.{name}": getattr(torch, name) for name in ("bfloat16", "float16", "float32")},
    }


def _plain_value(value: Any, known: dict[str, Any]) -> Any:
    """Return the value of an entry of the run config; for an unknown object, its name."""
    if isinstance(value, dict) and "_target_" in value:
        return value.get("_name_", known.get(value["_target_"], value["_target_"]))
    return value
