# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's training/model_load_save.py."""

from patches.edit import Edit
from patches.operations import AddDecorator, AddParameter, ExtendDocstring, InsertStatements, PassArgument


TARGET = "megatron/bridge/training/model_load_save.py"

_RESOLVE = "checkpoint_path = agree_on_checkpoint_folder(checkpoint_path)"
_RESOLVE_IMPORTS = ("from megatron.bridge.training.utils.checkpoint_root import agree_on_checkpoint_folder",)
_RESOLVE_DROP = "upstream's function resolves a checkpoint root."
_CPU = "use_cpu_init = use_cpu_init or not torch.cuda.is_available()"
_CONTEXT = "checkpointing_context=checkpointing_context(model, ckpt_format, release)"


def _run_config(name: str, symbol: str) -> Edit:
    return Edit(
        name=name,
        symbol=symbol,
        why="A user gives the checkpoint root, as to Megatron-LM, which may have saved into it since: without a run "
        "config. It only looks at a checkpoint, which one rank may do alone.",
        drop_when=_RESOLVE_DROP,
        do=(
            InsertStatements(
                "checkpoint_path = resolve_run_config_folder(checkpoint_path)",
                before_call="get_checkpoint_run_config_filename",
            ),
            PassArgument("read_run_config", "broadcast=False"),
        ),
        imports=("from megatron.bridge.training.utils.checkpoint_root import resolve_run_config_folder",),
    )


EDITS = (
    _run_config("resolve-tokenizer", "load_tokenizer"),
    _run_config("resolve-model-config", "load_model_config"),
    Edit(
        name="resolve-model",
        symbol="load_megatron_model",
        why="One look at the tracker, for the config and for the weights.",
        drop_when=_RESOLVE_DROP,
        do=InsertStatements(_RESOLVE, before_call="load_model_config"),
        imports=_RESOLVE_IMPORTS,
    ),
    Edit(
        name="resolve-build",
        symbol="build_and_load_model",
        why="A user gives the checkpoint root, as to Megatron-LM; the folder itself still works.",
        drop_when=_RESOLVE_DROP,
        do=InsertStatements(_RESOLVE, before_call="has_modelopt_state"),
        imports=_RESOLVE_IMPORTS,
    ),
    Edit(
        name="cpu-load",
        symbol="load_megatron_model",
        why="A host without CUDA builds the model on the CPU.",
        drop_when="upstream's function runs on a host without CUDA.",
        do=InsertStatements(_CPU, before_call="load_model_config"),
    ),
    Edit(
        name="cpu-build",
        symbol="build_and_load_model",
        why="As load_megatron_model, for those who call this one directly.",
        drop_when="upstream's function runs on a host without CUDA.",
        do=InsertStatements(_CPU, before_call="has_modelopt_state"),
    ),
    Edit(
        name="save-release",
        symbol="save_megatron_model",
        why="Writes a converted model as the release checkpoint that Megatron-LM fine-tunes from. Both ways of saving "
        "write the same layout, and the tokenizer goes into the folder that was written.",
        drop_when="upstream's save_megatron_model has a `release` parameter.",
        do=(
            AddParameter(
                "release: bool = False",
                doc="release: If True, writes a release checkpoint, which Megatron-LM loads as it is: the folder\n"
                "``release`` and the tracker ``release``, published when every file is complete.\n"
                "Default is False, which writes ``iter_0000000`` and the tracker ``0``.",
            ),
            ExtendDocstring(
                "Example:",
                ">>> # Save the release checkpoint that Megatron-LM fine-tunes from\n"
                '>>> save_megatron_model(megatron_model, "./megatron_checkpoint", release=True)',
            ),
            PassArgument("save_checkpoint", "release=release", count=2),
            PassArgument("get_checkpoint_name", "release=release"),
        ),
    ),
    Edit(
        name="save-overwrite",
        symbol="save_megatron_model",
        why="A checkpoint that is there is lost only to who says so.",
        drop_when="upstream's save_megatron_model has an `overwrite` parameter.",
        do=AddParameter(
            "overwrite: bool = False",
            doc="overwrite: If True, ``release=True`` replaces the release that ``path`` holds, when the\n"
            "new one is complete. Default is False: a folder that holds a checkpoint is refused.",
        ),
    ),
    Edit(
        name="save-let-through",
        symbol="save_megatron_model",
        why="A release says what it lacks of its source.",
        drop_when="upstream accounts for tensors and config fields.",
        do=AddParameter(
            "let_through: Sequence[str] = ()",
            doc="let_through: With ``release=True``, what the model lacks of the one that it was made of, a sentence\n"
            "each, which the release records.",
        ),
        imports=("from collections.abc import Sequence",),
    ),
    Edit(
        name="save-publishes",
        symbol="save_megatron_model",
        why="A reader must find the old checkpoint or the new one, with its tokenizer, never a mixture.",
        drop_when="upstream publishes what it saves.",
        do=AddDecorator("@publishes_release"),
        imports=("from megatron.bridge.training.release.saving import publishes_release",),
    ),
    Edit(
        name="save-writer",
        symbol="save_megatron_model",
        why="A release has a writer of its own, which streams.",
        drop_when="upstream's save_megatron_model has a `release` parameter.",
        do=PassArgument("save_checkpoint", _CONTEXT, count=2),
        imports=("from megatron.bridge.training.release.saving import checkpointing_context",),
    ),
    Edit(
        name="save-tokenizer-required",
        symbol="save_megatron_model",
        why="A release without its tokenizer, or with a part of it, must not be published.",
        drop_when="upstream's save_tokenizer_assets raises what it logs.",
        do=PassArgument("save_tokenizer_assets", "required=release"),
    ),
)
