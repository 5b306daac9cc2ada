# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's training/model_load_save.py."""

from patches.edit import Edit
from patches.operations import (
    AddDecorator,
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
_SAVE_DROP = "upstream's save_megatron_model has a `release` parameter."
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
        imports=("from megatron.bridge.training.utils.checkpoint_root import resolve_run_config_folder",),
    )


EDITS = (
    Edit(
        name="save-release",
        symbol="save_megatron_model",
        why="Writes a converted model as the release checkpoint that Megatron-LM fine-tunes from. Both ways of saving "
        "write the same layout, and the tokenizer goes into the folder that was written.",
        drop_when=_SAVE_DROP,
        do=(
            AddParameter(
                "release: bool = False",
                doc="release: If True, writes a release checkpoint, which Megatron-LM fine-tunes from: the folder\n"
                "``release`` and the tracker ``release``. Default is False, which writes ``iter_0000000``\n"
                "and the tracker ``0``.",
            ),
            PassArgument("save_checkpoint", "release=release", count=2),
            PassArgument("get_checkpoint_name", "release=release"),
        ),
    ),
    Edit(
        name="save-common-state",
        symbol="save_megatron_model",
        why="Megatron-LM before core 0.19 looks for the args in common.pt.",
        drop_when="no Megatron-LM in use is older than core 0.19.",
        do=InsertStatements("if release:\n    write_common_state(path)", at_end=True),
        imports=("from megatron.bridge.release.write.common_state import write_common_state",),
    ),
    Edit(
        name="save-description",
        symbol="save_megatron_model",
        why="Who starts Megatron-LM needs the model's flags, and --verify-integrity the checksums of the files.",
        drop_when="upstream writes both.",
        do=(
            InsertStatements("if release:\n    warn_of_what_no_flag_gives(model_config)", before_call="GlobalState"),
            InsertStatements("if release:\n    describe_release(path)", at_end=True),
        ),
        imports=(
            "from megatron.bridge.release.write.description import describe_release, warn_of_what_no_flag_gives",
        ),
    ),
    Edit(
        name="save-publishes",
        symbol="save_megatron_model",
        why="A reader must find the old checkpoint or the new one, with its tokenizer, never a mixture. A checkpoint that is "
        "there is lost only to who says so.",
        drop_when="upstream publishes what it saves.",
        do=(
            AddParameter(
                "overwrite: bool = False",
                doc="overwrite: If True, ``release=True`` replaces the release that ``path`` holds, when the\n"
                "new one is complete. Default is False: a folder that holds a checkpoint is refused.",
            ),
            AddDecorator("@publishes_release"),
            ReplaceExpression("warn_of_what_no_flag_gives(...)", "note(__old__)"),
        ),
        imports=(
            "from megatron.bridge.release.write.save import publishes_release",
            "from megatron.bridge.release.write.save_context import note",
        ),
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
        name="save-tokenizer-files",
        symbol="save_megatron_model",
        why="A release without its tokenizer, or with a part of it, must not be published, and transformers 5 writes one that "
        "transformers 4 does not load. Rank 0 copies the files of the source model. An error there is raised on all ranks.",
        drop_when="upstream copies the tokenizer files of the source model.",
        do=ReplaceExpression(
            "save_tokenizer_assets(...)",
            "save_tokenizer(lambda: __old__, checkpoint_name, tokenizer_config if release else None)",
        ),
        imports=("from megatron.bridge.release.write.tokenizer import save_tokenizer",),
    ),
    Edit(
        name="save-let-through",
        symbol="save_megatron_model",
        why="A release records how it differs from its source model.",
        drop_when="upstream accounts for tensors and config fields.",
        do=(
            AddParameter(
                "waived: Sequence[str] = ()",
                doc="waived: With ``release=True``, differences from the source model that the user allowed, a sentence\n"
                "each, which the release records.",
            ),
            PassArgument("describe_release", "waived=waived"),
            InsertStatements("note(*waived)", before_call="GlobalState"),
        ),
        imports=("from collections.abc import Sequence",),
    ),
    Edit(
        name="save-source-model",
        symbol="save_megatron_model",
        why="A release records the commit that its weights are from, and claims no weights that were trained since.",
        drop_when="upstream resolves a revision once, and records it.",
        do=(
            AddParameter(
                "source_model: SourceModel | None = None",
                doc="source_model: With ``release=True``, the Hugging Face model whose weights the model has, unchanged.\n"
                "Default is None: they may have been trained.",
            ),
            PassArgument("describe_release", "source_model=source_model"),
        ),
        imports=("from megatron.bridge.release.source.provenance import SourceModel",),
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
    Edit(
        name="own-values",
        symbol="save_megatron_model",
        why="Which flags give the model is asked of the model's own values, not of this host's.",
        drop_when="upstream builds models on any host without changing the config that it saves.",
        do=ReplaceExpression(
            "warn_of_what_no_flag_gives(model_config)",
            "warn_of_what_no_flag_gives(restore_model_values(model_config))",
        ),
        imports=("from megatron.bridge.utils.host_compat import restore_model_values",),
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
    Edit(
        name="save-writer",
        symbol="save_megatron_model",
        why="A release has a writer of its own, which streams, and copies nothing that could be freed.",
        drop_when=_SAVE_DROP,
        do=(
            InsertStatements(
                """
                checkpointing_context = release_context(model, release)
                low_memory_save = low_memory_save and checkpointing_context is None
                """,
                before_call="GlobalState",
            ),
            PassArgument("save_checkpoint", "checkpointing_context=checkpointing_context", count=2),
        ),
        imports=("from megatron.bridge.release.write.writer import release_context",),
    ),
)
