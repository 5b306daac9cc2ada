# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The parameters that edits add to `AutoBridge`."""

from patches.operations import AddParameter


# Parameters of `export_ckpt`.
EXPORT = (
    AddParameter(
        "release_path: str | Path | None = None",
        keyword_only=True,
        doc="release_path: Folder of the release that the training started from, if the checkpoint was saved to\n"
        "another directory. Default is None: it is next to the checkpoint.",
    ),
    AddParameter(
        "dtype: str | torch.dtype | None = None",
        keyword_only=True,
        doc="dtype: Dtype of the exported tensors. Default is None: the checkpoint's.",
    ),
    AddParameter(
        "max_shard_size: int | str | None = None",
        keyword_only=True,
        doc="max_shard_size: Size of a weight file, in bytes or such as ``5GB``. Default is None: the files are those of\n"
        "the source model.",
    ),
    AddParameter(
        "tokenizer_path: str | Path | None = None",
        keyword_only=True,
        doc="tokenizer_path: Folder of the tokenizer of the training, if the vocabulary grew. Default is None: the\n"
        "tokenizer is the source model's, and an embedding of more rows is an error.",
    ),
    AddParameter(
        "rope_scaling_factor: float | None = None",
        keyword_only=True,
        doc="rope_scaling_factor: The rope scaling factor that the training applied, if the checkpoint does not\n"
        "record it. Default is None: an unknown factor is an error.",
    ),
)


def release_parameters(path: str, *, keyword_only: bool = False) -> tuple[AddParameter, ...]:
    """Return the parameters for writing a release.

    Args:
        path: The function's parameter for the checkpoint directory.
        keyword_only: Whether they can be passed by keyword only.
    """
    return (
        AddParameter(
            "release: bool = False",
            keyword_only=keyword_only,
            doc="release: If True, writes a release checkpoint, which Megatron-LM fine-tunes from: the folder\n"
            "``release`` and the tracker ``release``. Default is False, which writes ``iter_0000000``\n"
            "and the tracker ``0``.",
        ),
        AddParameter(
            "overwrite: bool = False",
            keyword_only=keyword_only,
            doc=f"overwrite: If True, ``release=True`` replaces the release in ``{path}`` when the new one is complete.\n"
            "Default is False: a directory that contains a checkpoint is refused.",
        ),
        AddParameter(
            "allow_unused_tensors: Sequence[str] = ()",
            keyword_only=keyword_only,
            doc="allow_unused_tensors: With ``release=True``, patterns, as of `fnmatch`, of unused tensors to skip. Default is\n"
            "none: an unused tensor is an error. So is a pattern that matches no tensor of the model.",
        ),
        AddParameter(
            "allow_config_fields: Sequence[str] = ()",
            keyword_only=keyword_only,
            doc="allow_config_fields: With ``release=True``, names of config fields to ignore: Megatron-LM then computes another\n"
            "function. Default is none: a value that a release does not support is an error.",
        ),
    )
