# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors of the config that an export writes, and of the args from which it is derived.

Importing this module imports neither torch nor Megatron Core.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron.bridge.release.errors import OptionFormat, ReleaseError
from megatron.bridge.release.megatron_args.comparison import describe_differences


# By the names of arguments, the checkpoint's value and the expected one.
Differences = Mapping[str, tuple[Any, Any]]


@dataclass(eq=False)
class NoArgsError(ReleaseError):
    """A checkpoint of Megatron-LM has no args in its common state."""

    folder: Path

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.folder} has no args, so it is unknown how the model was trained. Save the checkpoint with Megatron-LM "
            "or Megatron-Bridge."
        )


@dataclass(eq=False)
class InvalidTrainedConfigError(ReleaseError):
    """The args of a checkpoint lead to a config that transformers or Megatron-Bridge refuses."""

    reason: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"The checkpoint's arguments do not result in a valid config of this model ({self.reason}). Pass the source "
            "model of the checkpoint."
        )


@dataclass(eq=False)
class InexpressibleArgsError(ReleaseError):
    """A Hugging Face config of the model cannot express the args of a checkpoint."""

    differences: Differences

    def text(self, option: OptionFormat) -> str:
        return (
            "A Hugging Face config of this model cannot express the arguments of the training: "
            f"{describe_differences(self.differences, 'release')}. Train with the release's values, or pass the source "
            "model of the checkpoint."
        )


@dataclass(eq=False)
class InexactConfigError(ReleaseError):
    """Megatron-LM and transformers compute different functions from the config that the args lead to.

    Attributes:
        problems: Sentences of the config check.
    """

    differences: Differences
    problems: tuple[str, ...]

    def text(self, option: OptionFormat) -> str:
        return (
            "A Hugging Face config cannot express the arguments of the training exactly: "
            f"{describe_differences(self.differences, 'release')}. {' '.join(self.problems)}"
        )


@dataclass(eq=False)
class RunConfigMismatchError(ReleaseError):
    """A checkpoint was trained with other arguments than the run config next to it."""

    folder: Path
    differences: Differences

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.folder} was trained with other arguments than its run config: "
            f"{describe_differences(self.differences, 'run config')}. Export the checkpoint with AutoBridge.export_ckpt, "
            "which writes them to config.json, and import the exported model."
        )


@dataclass(eq=False)
class SourceConfigMismatchError(ReleaseError):
    """The config.json of the source model does not describe a Megatron model that is saved with it."""

    differences: Differences

    def text(self, option: OptionFormat) -> str:
        return (
            "The source model's config.json does not describe this model: "
            f"{describe_differences(self.differences, 'source model')}. Save the model with save_megatron_model and export "
            "the checkpoint with AutoBridge.export_ckpt, which writes them to config.json."
        )


@dataclass(eq=False)
class RopeFactorMismatchError(ReleaseError):
    """The given rope scaling factor contradicts the args of the checkpoint.

    Attributes:
        recorded: Factor in the args; None if the model was trained without rope scaling.
    """

    factor: float
    recorded: float | None

    def text(self, option: OptionFormat) -> str:
        trained = "without rope scaling" if self.recorded is None else f"with the recorded factor {self.recorded:g}"
        return (
            f"Rope scaling factor mismatch: {self.factor:g} was given, the checkpoint was trained {trained}. Omit "
            f"{option('rope_scaling_factor')}."
        )


@dataclass(eq=False)
class TokenizerMismatchError(ReleaseError):
    """A tokenizer has more tokens than the embedding has rows, or fewer than the training had.

    Attributes:
        rows: Rows of the embedding; None if the tokenizer has too few tokens.
        trained: Vocabulary size in the args.
    """

    tokens: int
    rows: int | None
    trained: int

    def text(self, option: OptionFormat) -> str:
        other = f"the training had {self.trained} (args.vocab_size)"
        if self.rows is not None:
            other = f"the checkpoint's embedding has {self.rows} rows"
        return f"The tokenizer has {self.tokens} tokens, {other}. Pass the tokenizer of the training."


@dataclass(eq=False)
class VocabSizeMismatchError(ReleaseError):
    """The rows of a checkpoint's embedding do not follow from the source model's vocabulary and padding.

    Attributes:
        trained: Vocabulary size in the args, if it is there.
        declared: Vocabulary size in the source model's config.
    """

    rows: int
    trained: int | None
    declared: int

    def text(self, option: OptionFormat) -> str:
        trained = "" if self.trained is None else f" (args.vocab_size: {self.trained})"
        return (
            f"Vocabulary size mismatch: the checkpoint's embedding has {self.rows} rows{trained}, the source model's config "
            f"declares {self.declared}. Pass the tokenizer of the training, whose size decides which rows are exported."
        )
