# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Derives the config and the vocabulary size of an export from the args of the trained checkpoint."""

import json
from argparse import Namespace
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from megatron.core.dist_checkpointing.serialization import load_common_state_dict

from megatron.bridge.models.model_provider import ModelProviderMixin
from megatron.bridge.release.compat.bridge_api import load_keywords
from megatron.bridge.release.compat.transformers_api import read_config_dict
from megatron.bridge.release.export.checkpoint_tensors import read_model_tensors, reading
from megatron.bridge.release.export.config import export_config, exported_vocab_size
from megatron.bridge.release.export.config_errors import (
    NoArgsError,
    RopeFactorMismatchError,
    RunConfigMismatchError,
    SourceConfigMismatchError,
)
from megatron.bridge.release.export.errors import NoWeightsError
from megatron.bridge.release.megatron_args.comparison import (
    applied_rope_scaling_factor,
    check_args,
    differing_arguments,
)
from megatron.bridge.release.megatron_args.errors import UnknownRopeFactorError
from megatron.bridge.release.rope_factor import BUILT_FACTOR
from megatron.bridge.release.source.safetensors_index import read_index
from megatron.bridge.release.validation.provider import args_of, config_of, imported_args
from megatron.bridge.training.checkpointing import find_checkpoint_folder
from megatron.bridge.training.model_load_save import load_model_config
from megatron.bridge.training.utils.checkpoint_utils import file_exists, read_run_config
from megatron.bridge.utils.host_compat import restore_model_values
from megatron.bridge.utils.single_process import conversion_process_group


_EMBEDDING = "embedding.word_embeddings.weight"
# The fields that select mixed precision; float32 has none.
_MIXED_PRECISION = {torch.bfloat16: "bf16", torch.float16: "fp16"}
_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
# Keywords that decide which config.json of a model is read.
_LOCATION = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


@dataclass(frozen=True)
class TrainedModel:
    """A trained checkpoint.

    Attributes:
        bridge: The `AutoBridge` of the source model.
        args: Args of the training.
        source: Content of the source model's config.json.
        tensors: Metadata of the checkpoint's tensors, by key.
        vocab_size: Rows of the embedding to export; None if the checkpoint has no embedding of Megatron Core's name.
    """

    bridge: Any
    args: Namespace
    source: dict[str, Any]
    tensors: dict[str, ShardedTensor]
    vocab_size: int | None

    @classmethod
    def of(
        cls,
        bridge: Any,
        path: str | Path,
        tokenizer_size: int | None = None,
        rope_scaling_factor: float | None = None,
    ) -> "TrainedModel | None":
        """Read how a checkpoint was trained, and check that a Hugging Face config can express it.

        Needs a process group.

        Args:
            bridge: The `AutoBridge` of the source model.
            path: Checkpoint directory, or an iteration directory in it.
            tokenizer_size: Tokens of the training's tokenizer, if it is not the source model's.
            rope_scaling_factor: The rope scaling factor that the training applied, if the checkpoint does not record it.

        Returns:
            The checkpoint; None if there is none.

        Raises:
            UnknownRopeFactorError: If the checkpoint does not record the rope scaling factor.
            ReleaseError: If the checkpoint has no args, or a Hugging Face config cannot express them, if it records
                another factor, or if the vocabulary is neither the source model's nor the tokenizer's.
        """
        # It caches by path, where there may be another model now.
        read_run_config.cache_clear()
        folder = find_checkpoint_folder(str(path))
        if not file_exists(f"{folder}/.metadata"):
            return None
        args = trained_args(folder)
        if rope_scaling_factor is not None:
            _set_rope_scaling_factor(args, rope_scaling_factor)
        tensors = read_model_tensors(folder)
        embedding = tensors.get(_EMBEDDING)
        vocab_size = None
        if embedding is not None:
            config = getattr(bridge.hf_pretrained, "config", bridge.hf_pretrained).get_text_config()
            declared = {"vocab_size": config.vocab_size}
            vocab_size = exported_vocab_size(args, declared, embedding.global_shape[0], tokenizer_size)
        trained = cls(bridge, args, source_config(bridge), tensors, vocab_size)
        trained.config("bfloat16")
        return trained

    def overrides(self, dtype: torch.dtype) -> dict[str, Any]:
        """Return the model fields that follow from the checkpoint and override its run config.

        Args:
            dtype: Dtype of the parameters.
        """
        untied = getattr(self.args, "untie_embeddings_and_output_weights", None)
        fields: dict[str, Any] = {} if untied is None else {"share_embeddings_and_output_weights": not untied}
        if self.vocab_size is not None:
            fields |= {"vocab_size": self.vocab_size, "should_pad_vocab": False}
        # The dtype of the training may differ from the release's.
        fields |= {"params_dtype": dtype, "pipeline_dtype": dtype}
        return fields | {name: dtype == selected for selected, name in _MIXED_PRECISION.items()}

    def config(self, dtype: str) -> dict[str, Any]:
        """Return the content of the exported config.json."""
        return export_config(self.args, self.source, self.bridge, dtype=dtype, vocab_size=self.vocab_size)

    def write_config(self, folder: str | Path) -> None:
        """Write config.json into the directory of the exported tensors, with their dtype."""
        content = self.config(written_dtype(Path(folder)))
        Path(folder, "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def trained_args(folder: str) -> Namespace:
    """Return the args with which a checkpoint was trained.

    Megatron-LM saves them in the common state. For Megatron-Bridge, they are computed from the model of its run config.

    Args:
        folder: Iteration directory.

    Raises:
        ArgsError, NoArgsError: If the checkpoint does not have all args.
        UnreadableCheckpointError: If it cannot be read.
    """
    if file_exists(f"{folder}/run_config.yaml"):
        model, _ = load_model_config(folder)
        if isinstance(model, ModelProviderMixin):
            args = args_of(model)
            # Megatron-Bridge has one length only, the sequence length of the training.
            args.max_position_embeddings = None
            setattr(args, BUILT_FACTOR, getattr(model, "rope_scaling_factor", None))
            return args
    with reading(folder):
        args = load_common_state_dict(folder).get("args")
    if not isinstance(args, Namespace):
        raise NoArgsError(Path(folder))
    check_args(args)
    return args


def check_run_config(model: Any, folder: str) -> None:
    """Check that the run config of a release describes the model that Megatron-LM trained.

    Args:
        model: The model of the run config.
        folder: Iteration directory that the weights are loaded from.

    Raises:
        UnknownRopeFactorError: If the checkpoint does not record the rope scaling factor.
        RunConfigMismatchError: If the checkpoint was trained with other arguments.
    """
    is_trained_by_megatron_lm = file_exists(f"{folder}/.metadata") and not file_exists(f"{folder}/run_config.yaml")
    if not is_trained_by_megatron_lm or not isinstance(model, ModelProviderMixin):
        return
    with conversion_process_group():
        args = trained_args(folder)
    try:
        args.rope_scaling_factor = applied_rope_scaling_factor(args)
    except UnknownRopeFactorError as error:
        raise UnknownRopeFactorError(error.factor, is_export=False) from error
    if differences := differing_arguments(args, args_of(model)):
        raise RunConfigMismatchError(Path(folder), differences)


def check_source_config(bridge: Any, model: Any) -> None:
    """Check that the config.json of the source model describes a Megatron model.

    Args:
        bridge: The `AutoBridge` of the source model.
        model: The Megatron model, or a list of its parts.

    Raises:
        SourceConfigMismatchError: If it does not.
    """
    config = restore_model_values(config_of(model))
    if not isinstance(config, ModelProviderMixin):
        # Models without a provider do not record their arguments.
        return
    if differences := differing_arguments(args_of(config), imported_args(bridge)):
        raise SourceConfigMismatchError(differences)


def _set_rope_scaling_factor(args: Namespace, factor: float) -> None:
    """Set the rope scaling factor that a training applied. Raise RopeFactorMismatchError if the args contradict it."""
    recorded = getattr(args, BUILT_FACTOR, None)
    if not getattr(args, "use_rope_scaling", False):
        raise RopeFactorMismatchError(factor, None)
    if recorded not in (None, factor):
        raise RopeFactorMismatchError(factor, recorded)
    setattr(args, BUILT_FACTOR, factor)


def source_config(bridge: Any) -> dict[str, Any]:
    """Return the content of a source model's config.json, without the fields that do not apply to its export."""
    hf_pretrained = bridge.hf_pretrained
    name = getattr(hf_pretrained, "model_name_or_path", None)
    if name is None:
        content = getattr(hf_pretrained, "config", hf_pretrained).to_dict()
    else:
        location = {key: value for key, value in load_keywords(hf_pretrained).items() if key in _LOCATION}
        content = read_config_dict(name, **location)
    # An export is not quantized, and contains the source's code only if it is trusted.
    removed = {"_commit_hash", "quantization_config"}
    removed |= set() if getattr(hf_pretrained, "trust_remote_code", False) is True else {"auto_map"}
    return {field: value for field, value in content.items() if field not in removed}


def written_dtype(folder: Path) -> str:
    """Return the name of the most frequent dtype of an exported model, by number of values.

    Raises:
        NoWeightsError: If no tensor has a dtype that a config names.
    """
    sizes: Counter[str] = Counter()
    for header in read_index(folder).values():
        sizes[header.dtype] += prod(header.shape) if header.dtype in _DTYPES else 0
    if not any(sizes.values()):
        raise NoWeightsError(folder)
    return _DTYPES[sizes.most_common(1)[0][0]]
