# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/conversion/auto_bridge.py."""

from patches.edit import Edit
from patches.operations import (
    AddDecorator,
    AddParameter,
    ExtendDocstring,
    InsertStatements,
    PassArgument,
    ReplaceExpression,
    ReplaceStatement,
)


TARGET = "megatron/bridge/models/conversion/auto_bridge.py"

_SAVE = "bridge.save_megatron_model"
_FOLLOWS = "upstream's function follows the tracker."
_ACCOUNTS = "upstream accounts for tensors and config fields."
_RELEASE_DOC = (
    "release: If True, writes a release checkpoint, which Megatron-LM loads as it is: the folder\n"
    "``release`` and the tracker ``release``, published when every file is complete.\n"
    "Default is False, which writes ``iter_0000000`` and the tracker ``0``."
)
_TENSORS = "allow_unused_tensors: Sequence[str] = ()"
_TENSORS_DOC = (
    "allow_unused_tensors: With ``release=True``, patterns, as of `fnmatch`, of the model's tensors that may be left\n"
    "out. Default is none: a tensor that is not converted is an error."
)
_TENSORS_WHY = "Who knows that a tensor is not needed can say so."
_FIELDS = "allow_config_fields: Sequence[str] = ()"
_FIELDS_DOC = (
    "allow_config_fields: With ``release=True``, names of fields of the model's config whose values may be lost:\n"
    "Megatron-LM computes another function then. Default is none: a value that is not carried is an error."
)
_FIELDS_WHY = "Who knows that a field does not matter can say so."
_SEQUENCE = ("from collections.abc import Sequence",)

EDITS = (
    Edit(
        name="import-low-memory",
        symbol="AutoBridge.import_ckpt",
        why="Upstream's main has the parameter (perf #5154); the release follows its signature.",
        drop_when="the pinned upstream has it.",
        do=(
            AddParameter(
                "low_memory_save: bool = False",
                keyword_only=True,
                doc="low_memory_save: If True, frees the model while it is saved, which needs less memory and\n"
                "more time. Default is False.",
            ),
            PassArgument(_SAVE, "low_memory_save=low_memory_save"),
        ),
    ),
    Edit(
        name="import-release",
        symbol="AutoBridge.import_ckpt",
        why="The checkpoint that Megatron-LM fine-tunes from, in one call.",
        drop_when="upstream's import_ckpt has a `release` parameter.",
        do=(
            AddParameter("release: bool = False", keyword_only=True, doc=_RELEASE_DOC),
            ExtendDocstring(
                "Example:",
                ">>> # Import as the release checkpoint that Megatron-LM fine-tunes from\n"
                ">>> AutoBridge.import_ckpt(\n"
                '...     "meta-llama/Meta-Llama-3-8B",\n'
                '...     "./megatron_checkpoints/llama3_8b",\n'
                "...     release=True\n"
                "... )",
            ),
            PassArgument(_SAVE, "release=release"),
        ),
    ),
    Edit(
        name="import-overwrite",
        symbol="AutoBridge.import_ckpt",
        why="A checkpoint that is there is lost only to who says so.",
        drop_when="upstream's import_ckpt has an `overwrite` parameter.",
        do=(
            AddParameter(
                "overwrite: bool = False",
                keyword_only=True,
                doc="overwrite: If True, ``release=True`` replaces the release that ``megatron_path`` holds, when the\n"
                "new one is complete. Default is False: a folder that holds a checkpoint is refused.",
            ),
            PassArgument(_SAVE, "overwrite=overwrite"),
        ),
    ),
    Edit(
        name="import-checks",
        symbol="AutoBridge.import_ckpt",
        why="What a user can get wrong is found before the long work, with one line that says what to do.",
        drop_when="upstream checks the paths of an import.",
        do=(
            ExtendDocstring(
                "Raises:",
                "ValueError: With ``release=True``, if the model or its architecture cannot be imported, or\n"
                "    ``megatron_path`` cannot hold the checkpoint. Raised before anything is written.",
            ),
            InsertStatements(
                """
                megatron_path = destination(megatron_path, release, overwrite)
                if release:
                    hf_model_id = check_import(hf_model_id, megatron_path, overwrite, kwargs)
                """
            ),
        ),
        imports=(
            "from megatron.bridge.training.release.destination import destination",
            "from megatron.bridge.training.release.preflight import check_import",
        ),
    ),
    Edit(
        name="import-process-group",
        symbol="AutoBridge.import_ckpt",
        why="An import leaves the process as it found it, so that an export or another import can follow.",
        drop_when="the pinned upstream's import_ckpt makes a temporary process group (perf #5154).",
        do=AddDecorator("@conversion_process_group()", innermost=True),
        imports=("from megatron.bridge.utils.conversion_group import conversion_process_group",),
    ),
    Edit(
        name="import-allow-tensors",
        symbol="AutoBridge.import_ckpt",
        why=_TENSORS_WHY,
        drop_when=_ACCOUNTS,
        do=(
            AddParameter(_TENSORS, keyword_only=True, doc=_TENSORS_DOC),
            PassArgument(_SAVE, "allow_unused_tensors=allow_unused_tensors"),
        ),
        imports=_SEQUENCE,
    ),
    Edit(
        name="import-allow-fields",
        symbol="AutoBridge.import_ckpt",
        why=_FIELDS_WHY,
        drop_when=_ACCOUNTS,
        do=(
            AddParameter(_FIELDS, keyword_only=True, doc=_FIELDS_DOC),
            PassArgument(_SAVE, "allow_config_fields=allow_config_fields"),
        ),
        imports=_SEQUENCE,
    ),
    Edit(
        name="import-faithful",
        symbol="AutoBridge.import_ckpt",
        why="What would not be the model is refused before any weight is read. Each weight is converted when it is "
        "written: an import takes the memory of a few tensors.",
        drop_when="upstream accounts for tensors and config fields, and streams an import.",
        do=(
            InsertStatements(
                """
                streamed: list[MegatronModelT] | None = None
                if release:
                    # The training package imports this module's package.
                    from megatron.bridge.training.release.faithful import require_faithful
                    from megatron.bridge.training.release.streaming import streamed_model

                    accounted = require_faithful(bridge, allow_unused_tensors, allow_config_fields, hf_model_id)
                    streamed = streamed_model(bridge, accounted)
                """,
                before_call="bridge.to_megatron_model",
            ),
            ReplaceExpression("bridge.to_megatron_model(...)", "streamed or __old__"),
        ),
    ),
    Edit(
        name="save-release",
        symbol="AutoBridge.save_megatron_model",
        why="The same for a model that the caller has built, on any parallel layout.",
        drop_when="upstream's save_megatron_model has a `release` parameter.",
        do=(
            AddParameter("release: bool = False", doc=_RELEASE_DOC),
            ExtendDocstring(
                "Example:",
                ">>> # Save the release checkpoint that Megatron-LM fine-tunes from\n"
                '>>> bridge.save_megatron_model(megatron_model, "./megatron_checkpoint", release=True)',
            ),
            PassArgument("save_megatron_model", "release=release"),
        ),
    ),
    Edit(
        name="save-overwrite",
        symbol="AutoBridge.save_megatron_model",
        why="A checkpoint that is there is lost only to who says so.",
        drop_when="upstream's save_megatron_model has an `overwrite` parameter.",
        do=(
            AddParameter(
                "overwrite: bool = False",
                doc="overwrite: If True, ``release=True`` replaces the release that ``path`` holds, when the\n"
                "new one is complete. Default is False: a folder that holds a checkpoint is refused.",
            ),
            PassArgument("save_megatron_model", "overwrite=overwrite"),
        ),
    ),
    Edit(
        name="save-allow-tensors",
        symbol="AutoBridge.save_megatron_model",
        why=_TENSORS_WHY,
        drop_when=_ACCOUNTS,
        do=AddParameter(_TENSORS, doc=_TENSORS_DOC),
        imports=_SEQUENCE,
    ),
    Edit(
        name="save-allow-fields",
        symbol="AutoBridge.save_megatron_model",
        why=_FIELDS_WHY,
        drop_when=_ACCOUNTS,
        do=AddParameter(_FIELDS, doc=_FIELDS_DOC),
        imports=_SEQUENCE,
    ),
    Edit(
        name="save-faithful",
        symbol="AutoBridge.save_megatron_model",
        why="A model that the caller has built and loaded, on any number of ranks, is the source's, or nothing is "
        "published. A release says what it lacks of its source.",
        drop_when=_ACCOUNTS,
        do=(
            InsertStatements(
                """
                let_through: tuple[str, ...] = ()
                if release:
                    # The training package imports this module's package.
                    from megatron.bridge.training.release.faithful import require_faithful
                    from megatron.bridge.training.release.own_config import require_own_config

                    let_through = require_faithful(
                        self, allow_unused_tensors, allow_config_fields, hf_tokenizer_path, hf_tokenizer_kwargs
                    ).let_through
                    require_own_config(self, model)
                """
            ),
            PassArgument("save_megatron_model", "let_through=let_through"),
        ),
    ),
    Edit(
        name="load-root",
        symbol="AutoBridge.load_megatron_model",
        why="It looked for iter_* folders alone, and took the highest one where the tracker names another. The "
        "function that it calls follows the tracker.",
        drop_when=_FOLLOWS,
        do=(
            ReplaceStatement("checkpoint_path = path", assigns="checkpoint_path", was="18c86f4d3667"),
            ReplaceStatement("", assigns="iter_folders", was="047de687947a"),
            ReplaceStatement("", tests="iter_folders", was="3860fdbdcb69"),
        ),
    ),
    Edit(
        name="auto-config-root",
        symbol="AutoBridge.from_auto_config",
        why="It looked for iter_* folders alone, and took the highest one where the tracker names another.",
        drop_when=_FOLLOWS,
        do=InsertStatements(
            # The training package imports this module's package: what is needed from there is imported where it is used.
            """
            from megatron.bridge.training.utils.checkpoint_root import resolve_run_config_folder

            checkpoint_path = Path(resolve_run_config_folder(checkpoint_path))
            """,
            after_call="checkpoint_path.exists",
        ),
    ),
    Edit(
        name="adapter-root",
        symbol="AutoBridge.export_adapter_ckpt",
        why="Its documentation offers a run's root, which it did not resolve.",
        drop_when=_FOLLOWS,
        do=InsertStatements(
            """
            from megatron.bridge.training.utils.checkpoint_root import resolve_checkpoint_folder

            ckpt_path = Path(resolve_checkpoint_folder(ckpt_path))
            """,
            after_call="ckpt_path.exists",
        ),
    ),
)
