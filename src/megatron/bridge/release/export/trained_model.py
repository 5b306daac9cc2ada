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

"""Derives the config and the vocabulary size of an export from the args of the trained checkpoint."""

import json
from argparse import Namespace
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.serialization import load_common_state_dict
from transformers import PretrainedConfig

from megatron.bridge.models.model_provider import ModelProviderMixin
from megatron.bridge.release.export.checkpoint_tensors import model_tensors, readable
from megatron.bridge.release.export.config import export_config, exported_vocab_size
from megatron.bridge.release.megatron_args.comparison import (
    applied_rope_scaling_factor,
    describe_differences,
    differing_arguments,
    check_args,
)
from megatron.bridge.release.rope_factor import BUILT_FACTOR
from megatron.bridge.release.source.safetensors_index import read_index
from megatron.bridge.release.validation.provider import args_of, config_of, imported_args
from megatron.bridge.training.checkpointing import find_checkpoint_folder
from megatron.bridge.training.model_load_save import load_model_config
from megatron.bridge.training.utils.checkpoint_utils import file_exists, read_run_config
from megatron.bridge.utils.single_process import conversion_process_group
from megatron.bridge.utils.host_compat import restore_model_values


_EMBEDDING = "embedding.word_embeddings.weight"
# The fields that select a dtype of parameters; float32 has none.
_MIXED_PRECISION = {torch.bfloat16: "bf16", torch.float16: "fp16"}
_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
# Keywords of a model's loading that decide which config.json is read.
_LOCATION = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


@dataclass(frozen=True)
class TrainedModel:
    """A trained checkpoint, and what an export of it needs.

    Attributes:
        bridge: The `AutoBridge` of the source model.
        args: Args with which the checkpoint was trained.
        source: Content of the source model's config.json.
        vocab_size: Rows of the embedding to export; None if the checkpoint has no embedding of this name.
    """

    bridge: Any
    args: Namespace
    source: dict[str, Any]
    vocab_size: int | None

    @classmethod
    def of(
        cls,
        bridge: Any,
        path: str | Path,
        tokenizer_size: int | None = None,
        rope_scaling_factor: float | None = None,
    ) -> "TrainedModel | None":
        """Read how a checkpoint was trained, and require that a Hugging Face config can express it.

        Needs a process group.

        Args:
            bridge: The `AutoBridge` of the source model.
            path: Checkpoint directory, or a checkpoint folder in it.
            tokenizer_size: Number of tokens of the training's tokenizer, if it is not the source model's.
            rope_scaling_factor: The rope scaling factor that the training applied, if the checkpoint does not record it.

        Returns:
            The model; None if there is no checkpoint.

        Raises:
            UnknownRopeFactorError: If the checkpoint does not record the rope scaling factor.
            ValueError: If the checkpoint has no args, or a Hugging Face config cannot express them, if it records another
                factor, or if the vocabulary is neither the source model's nor the tokenizer's.
        """
        # It is cached by its name, and the directory may contain another model now.
        read_run_config.cache_clear()
        folder = find_checkpoint_folder(str(path))
        if not file_exists(f"{folder}/.metadata"):
            return None
        args = trained_args(folder)
        if rope_scaling_factor is not None:
            _set_rope_scaling_factor(args, rope_scaling_factor)
        embedding = model_tensors(folder).get(_EMBEDDING)
        vocab_size = None
        if embedding is not None:
            config = getattr(bridge.hf_pretrained, "config", bridge.hf_pretrained).get_text_config()
            declared = {"vocab_size": config.vocab_size}
            vocab_size = exported_vocab_size(args, declared, embedding.global_shape[0], tokenizer_size)
        trained = cls(bridge, args, source_config(bridge), vocab_size)
        trained.config("bfloat16")
        return trained

    def overrides(self, dtype: torch.dtype) -> dict[str, Any]:
        """Return the fields of the model to build that are the checkpoint's, whatever its run config contains.

        Args:
            dtype: Dtype of the parameters.
        """
        untied = getattr(self.args, "untie_embeddings_and_output_weights", None)
        fields: dict[str, Any] = {} if untied is None else {"share_embeddings_and_output_weights": not untied}
        if self.vocab_size is not None:
            fields |= {"vocab_size": self.vocab_size, "should_pad_vocab": False}
        # A training may use another dtype than the release's.
        fields |= {"params_dtype": dtype, "pipeline_dtype": dtype}
        return fields | {name: dtype == selected for selected, name in _MIXED_PRECISION.items()}

    def config(self, dtype: str) -> dict[str, Any]:
        """Return the content of the exported config.json for a dtype of the tensors."""
        return export_config(self.args, self.source, self.bridge, dtype=dtype, vocab_size=self.vocab_size)

    def write_config(self, folder: str | Path) -> None:
        """Write config.json beside the exported tensors.

        Raises:
            ValueError: If no tensor there is of a floating-point type that a config names.
        """
        content = self.config(written_dtype(Path(folder)))
        Path(folder, "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def trained_args(folder: str) -> Namespace:
    """Return the args with which a checkpoint was trained.

    Megatron-LM saves them in the common state. Megatron-Bridge saves a run config, of whose model they are made.

    Args:
        folder: Checkpoint folder.

    Raises:
        ArgsError: If an argument is missing.
        ValueError: If the checkpoint has neither, or cannot be read.
    """
    if file_exists(f"{folder}/run_config.yaml"):
        model, _ = load_model_config(folder)
        if isinstance(model, ModelProviderMixin):
            args = args_of(model)
            # Megatron-Bridge has one length, that of the training's sequences.
            args.max_position_embeddings = None
            setattr(args, BUILT_FACTOR, getattr(model, "rope_scaling_factor", None))
            return args
    with quote_if_unprintable(folder):
        args = load_common_state_dict(folder).get("args")
    if not isinstance(args, Namespace):
        raise ValueError(
            f"{folder} has no args: how the model was trained is not known. Save the checkpoint with Megatron-LM or "
            "Megatron-Bridge."
        )
    check_args(args)
    return args


def require_run_config(model: Any, folder: str) -> None:
    """Require that a release's run config describes the model that Megatron-LM trained.

    Args:
        model: The model of the run config.
        folder: Checkpoint folder that the weights are loaded from.

    Raises:
        UnknownRopeFactorError: If the checkpoint does not record the rope scaling factor.
        ValueError: If the checkpoint was trained with other arguments.
    """
    is_trained_by_megatron_lm = file_exists(f"{folder}/.metadata") and not file_exists(f"{folder}/run_config.yaml")
    if not is_trained_by_megatron_lm or not isinstance(model, ModelProviderMixin):
        return
    with conversion_process_group():
        args = trained_args(folder)
    args.rope_scaling_factor = applied_rope_scaling_factor(args)
    if differences := differing_arguments(args, args_of(model)):
        raise ValueError(
            f"{folder} was trained with other arguments than the run config's, and the model that is loaded would "
            f"compute something else: {describe_differences(differences, 'run config')}. Export the checkpoint with "
            "AutoBridge.export_ckpt, which writes them into config.json, and import the exported model."
        )


def require_source_config(bridge: Any, model: Any) -> None:
    """Require that the config.json of the source model describes a Megatron model.

    Args:
        bridge: The `AutoBridge` of the source model.
        model: The Megatron model, or a list of its parts.

    Raises:
        ValueError: If the model computes something else.
    """
    config = restore_model_values(config_of(model))
    if not isinstance(config, ModelProviderMixin):
        # Models of other origin do not record what they compute.
        return
    if differences := differing_arguments(args_of(config), imported_args(bridge)):
        raise ValueError(
            "The config.json of the source model does not describe this model: "
            f"{describe_differences(differences, 'source model')}. Save it with save_megatron_model and export the "
            "checkpoint with AutoBridge.export_ckpt, which writes them into config.json."
        )


def _set_rope_scaling_factor(args: Namespace, factor: float) -> None:
    """Record the rope scaling factor that a training applied. Raise ValueError if the args record another."""
    recorded = getattr(args, BUILT_FACTOR, None)
    if not getattr(args, "use_rope_scaling", False):
        raise ValueError(f"rope_scaling_factor={factor:g}: the checkpoint was trained without rope scaling. Omit it.")
    if recorded not in (None, factor):
        raise ValueError(
            f"rope_scaling_factor={factor:g}: the checkpoint was trained with the factor {recorded:g}, which its args "
            "record. Omit it."
        )
    setattr(args, BUILT_FACTOR, factor)


def source_config(bridge: Any) -> dict[str, Any]:
    """Return the content of a source model's config.json, without what an export does not have.

    Args:
        bridge: The `AutoBridge` of the model.
    """
    hf_pretrained = bridge.hf_pretrained
    name = getattr(hf_pretrained, "model_name_or_path", None)
    if name is None:
        content = getattr(hf_pretrained, "config", hf_pretrained).to_dict()
    else:
        location = {key: value for key, value in hf_pretrained.init_kwargs.items() if key in _LOCATION}
        content, _ = PretrainedConfig.get_config_dict(name, **location)
    # An export is not quantized, and has its source's code only if that is trusted.
    removed = {"_commit_hash", "quantization_config"}
    removed |= set() if getattr(hf_pretrained, "trust_remote_code", False) is True else {"auto_map"}
    return {field: value for field, value in content.items() if field not in removed}


def written_dtype(folder: Path) -> str:
    """Return the name of the dtype of most values of an exported model.

    Raises:
        ValueError: If its files have none that a config names.
    """
    sizes: Counter[str] = Counter()
    for header in read_index(folder).values():
        size = 1
        for length in header.shape:
            size *= length
        sizes[header.dtype] += size if header.dtype in _DTYPES else 0
    if not any(sizes.values()):
        raise ValueError(f"{folder} has no tensors of bfloat16, float16 or float32. Export the model again.")
    return _DTYPES[sizes.most_common(1)[0][0]]
