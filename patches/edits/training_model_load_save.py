# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's training/model_load_save.py."""

from patches.edit import Edit
from patches.operations import (
    AddParameter,
    ExtendDocstring,
    InsertStatements,
    PassArgument,
    ReplaceExpression,
)


TARGET = "megatron/bridge/training/model_load_save.py"

_RESOLVE = "checkpoint_path = find_checkpoint_folder(checkpoint_path)"
_RESOLVE_IMPORTS = ("from megatron.bridge.training.checkpointing import find_checkpoint_folder",)
_RESOLVE_DROP = "upstream's function resolves a checkpoint root."
_CPU = "use_cpu_init = use_cpu_init or not torch.cuda.is_available()"
_CPU_DROP = "upstream's function runs on a host without CUDA."


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
        imports=("from megatron.bridge.training.utils.checkpoint_resolver import resolve_run_config_folder",),
    )


EDITS = (
    Edit(
        name="save-release",
        symbol="save_megatron_model",
        why="Writes a model as the release checkpoint that Megatron-LM fine-tunes from. A model that was built for streaming can "
        "be saved in no other way.",
        drop_when="upstream's save_megatron_model has a `release` parameter.",
        do=(
            AddParameter(
                "release: bool = False",
                doc="release: If True, writes a release checkpoint, which Megatron-LM fine-tunes from: the folder\n"
                "``release`` and the tracker ``release``. Default is False, which writes ``iter_0000000``\n"
                "and the tracker ``0``.",
            ),
            AddParameter(
                "overwrite: bool = False",
                doc="overwrite: If True, ``release=True`` replaces the release in ``path`` when the new one is complete.\n"
                "Default is False: a directory that contains a checkpoint is refused.",
            ),
            InsertStatements(
                """
                # Imported here to avoid a circular import.
                from megatron.bridge.release.write.save import save_release
                from megatron.bridge.release.write.writer import require_weights

                if release:
                    save_release(
                        model,
                        path,
                        overwrite=overwrite,
                        ckpt_format=ckpt_format,
                        tokenizer_path=hf_tokenizer_path,
                        tokenizer_kwargs=hf_tokenizer_kwargs,
                    )
                    return
                if overwrite:
                    raise OverwriteWithoutReleaseError
                require_weights(model)

                """
            ),
        ),
        imports=("from megatron.bridge.release.validation.errors import OverwriteWithoutReleaseError",),
    ),
    Edit(
        name="load-run-config",
        symbol="load_megatron_model",
        why="What Megatron-LM saved to another directory has no run config: the release that it started from has one. With "
        "other arguments than the release's, Megatron-LM trained another model than the run config describes.",
        drop_when=_RESOLVE_DROP,
        do=(
            AddParameter(
                "run_config_path: Optional[Union[str, Path]] = None",
                doc="run_config_path: Checkpoint folder whose run config describes the model, whatever arguments it was trained\n"
                "with. Default is None: the checkpoint's, or that of the release next to it, which must describe\n"
                "the model that was trained.",
            ),
            ExtendDocstring(
                "Raises:",
                "ValueError: If Megatron-LM trained the checkpoint with other arguments than the run config's.",
            ),
            ReplaceExpression(
                "load_model_config(checkpoint_path)", "load_model_config(str(run_config_path or checkpoint_path))"
            ),
            InsertStatements(
                """
                if run_config_path is None:
                    # It imports this module.
                    from megatron.bridge.release.export.trained_model import check_run_config

                    check_run_config(model_cfg, checkpoint_path)
                """,
                after_call="load_model_config",
            ),
        ),
    ),
    Edit(
        name="cpu-load",
        symbol="load_megatron_model",
        why="A host without CUDA builds the model on the CPU.",
        drop_when=_CPU_DROP,
        do=InsertStatements(_CPU, before_call="load_model_config"),
    ),
    Edit(
        name="cpu-build",
        symbol="build_and_load_model",
        why="As load_megatron_model, for those who call this one directly.",
        drop_when=_CPU_DROP,
        do=InsertStatements(_CPU, before_call="has_modelopt_state"),
    ),
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
)
