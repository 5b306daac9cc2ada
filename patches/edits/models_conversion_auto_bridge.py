# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/conversion/auto_bridge.py."""

from patches.edit import Edit
from patches.edits._auto_bridge_parameters import (
    EXPORT,
    FIELDS,
    FIELDS_DOC,
    RELEASE_DOC,
    TENSORS,
    TENSORS_DOC,
    overwrite,
)
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
_OVERWRITE_WHY = "An existing checkpoint is replaced only on request."
_FIND = "from megatron.bridge.training.checkpointing import find_checkpoint_folder"
_TENSORS_WHY = "A caller can skip tensors that the model does not need."
_FIELDS_WHY = "A caller can ignore fields that do not matter."
_REVISIONS = "upstream resolves a revision once, and reads config, tokenizer and weights of that commit."
# In later versions, families with this switch are built by a model builder, and not by the provider that the edits check.
_BUILDER = "USE_MODEL_CONFIG_FOR_CONVERSION"
_SEQUENCE = ("from collections.abc import Sequence",)

EDITS = (
    Edit(
        name="import-release",
        symbol="AutoBridge.import_ckpt",
        why="The checkpoint that Megatron-LM fine-tunes from, in one call.",
        drop_when="upstream's import_ckpt has a `release` parameter.",
        do=(
            AddParameter("release: bool = False", keyword_only=True, doc=RELEASE_DOC),
            PassArgument(_SAVE, "release=release"),
        ),
    ),
    Edit(
        name="save-release",
        symbol="AutoBridge.save_megatron_model",
        why="The same for a model that the caller has built, on any parallel layout.",
        drop_when="upstream's save_megatron_model has a `release` parameter.",
        do=(
            AddParameter("release: bool = False", doc=RELEASE_DOC),
            PassArgument("save_megatron_model", "release=release"),
        ),
    ),
    Edit(
        name="load-root",
        symbol="AutoBridge.load_megatron_model",
        why="It looked for iter_* folders alone, and took the highest one where the tracker names another; and one that a "
        "second run has nested in a checkpoint folder, where it was given that.",
        drop_when=_FOLLOWS,
        do=(
            ReplaceExpression("Path(path)", "Path(find_checkpoint_folder(path))"),
            ReplaceExpression(
                "iter_folders",
                "not is_checkpoint_iteration_directory(str(checkpoint_path)) and __old__",
                guarding="max",
            ),
            InsertStatements(
                """
                from megatron.bridge.training.checkpointing import find_checkpoint_folder
                from megatron.bridge.training.utils.checkpoint_utils import is_checkpoint_iteration_directory

                """,
                before_call="find_checkpoint_folder",
            ),
        ),
    ),
    Edit(
        name="auto-config-root",
        symbol="AutoBridge.from_auto_config",
        why="It looked for iter_* folders alone, and took the highest one where the tracker names another.",
        drop_when=_FOLLOWS,
        do=InsertStatements(
            # The training package imports this module's package: what is needed from there is imported where it is used.
            f"{_FIND}\n\ncheckpoint_path = Path(find_checkpoint_folder(checkpoint_path))",
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
    Edit(
        name="import-overwrite",
        symbol="AutoBridge.import_ckpt",
        why=f"{_OVERWRITE_WHY} The destination is checked before the long work.",
        drop_when="upstream's import_ckpt has an `overwrite` parameter.",
        do=(
            overwrite("megatron_path", keyword_only=True),
            ExtendDocstring(
                "Raises:",
                "ValueError: With ``release=True``, if ``megatron_path`` cannot hold the checkpoint, or the model or\n"
                "    its architecture cannot be imported. Raised before anything is written.",
            ),
            InsertStatements(
                """
                megatron_path = destination(megatron_path, release, overwrite)
                if release:
                    # The training package imports this module's package.
                    from megatron.bridge.release.write.publish import check_destination

                    on_rank_0(lambda: check_destination(megatron_path, overwrite))
                """
            ),
            PassArgument(_SAVE, "overwrite=overwrite"),
        ),
        imports=(
            "from megatron.bridge.release.validation.output_dir import destination",
            "from megatron.bridge.training.utils.all_ranks import on_rank_0",
        ),
    ),
    Edit(
        name="save-overwrite",
        symbol="AutoBridge.save_megatron_model",
        why=_OVERWRITE_WHY,
        drop_when="upstream's save_megatron_model has an `overwrite` parameter.",
        do=(
            overwrite("path"),
            PassArgument("save_megatron_model", "overwrite=overwrite"),
        ),
    ),
    Edit(
        name="import-checks",
        symbol="AutoBridge.import_ckpt",
        why="Errors of the user are found before the long work.",
        drop_when="upstream checks the model of an import.",
        do=(
            InsertStatements("source_model: SourceModel | None = None", before_call="destination"),
            InsertStatements(
                """
                source_model = check_import(hf_model_id, megatron_path, kwargs)
                hf_model_id, kwargs = source_model.folder, keywords_of_files(source_model, kwargs)
                """,
                after_call="check_destination",
            ),
            InsertStatements(
                """
                if source_model is not None:
                    bridge.source_model, bridge.hf_model_revision = source_model, source_model.commit
                """,
                after_call="cls.from_hf_pretrained",
            ),
        ),
        imports=(
            "from megatron.bridge.release.validation.preflight import check_import, keywords_of_files",
            "from megatron.bridge.release.source.provenance import SourceModel",
        ),
    ),
    Edit(
        name="source-model",
        symbol="AutoBridge.__init__",
        why="An import reads one snapshot of a model of the Hub, and records its ID and commit.",
        drop_when=_REVISIONS,
        do=InsertStatements("self.source_model: SourceModel | None = None", at_end=True),
        imports=("from megatron.bridge.release.source.provenance import SourceModel",),
    ),
    Edit(
        name="provider-source",
        symbol="AutoBridge.to_megatron_provider",
        why="The run config names the model of the Hub, not the snapshot that was read.",
        drop_when=_REVISIONS,
        do=ReplaceExpression(
            'getattr(self.hf_pretrained, "model_name_or_path", None)',
            "self.source_model.name if self.source_model is not None else __old__",
        ),
    ),
    Edit(
        name="save-source",
        symbol="AutoBridge.save_megatron_model",
        why="The release records the model that its weights are from.",
        drop_when=_REVISIONS,
        do=PassArgument("save_megatron_model", "source_model=self.source_model"),
    ),
    Edit(
        name="import-allow-tensors",
        symbol="AutoBridge.import_ckpt",
        why=_TENSORS_WHY,
        drop_when=_ACCOUNTS,
        do=(
            AddParameter(TENSORS, keyword_only=True, doc=TENSORS_DOC),
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
            AddParameter(FIELDS, keyword_only=True, doc=FIELDS_DOC),
            PassArgument(_SAVE, "allow_config_fields=allow_config_fields"),
        ),
        imports=_SEQUENCE,
    ),
    Edit(
        name="import-faithful",
        symbol="AutoBridge.import_ckpt",
        why="A model that Megatron-LM would compute differently is refused before any weight is read.",
        drop_when=_ACCOUNTS,
        without=_BUILDER,
        do=InsertStatements(
            """
            if release:
                # The training package imports this module's package.
                from megatron.bridge.release.validation.fidelity import require_faithful

                require_faithful(bridge, allow_unused_tensors, allow_config_fields, hf_model_id)

            """,
            before_call="bridge.to_megatron_model",
        ),
    ),
    Edit(
        name="save-allow-tensors",
        symbol="AutoBridge.save_megatron_model",
        why=_TENSORS_WHY,
        drop_when=_ACCOUNTS,
        do=AddParameter(TENSORS, doc=TENSORS_DOC),
        imports=_SEQUENCE,
    ),
    Edit(
        name="save-allow-fields",
        symbol="AutoBridge.save_megatron_model",
        why=_FIELDS_WHY,
        drop_when=_ACCOUNTS,
        do=AddParameter(FIELDS, doc=FIELDS_DOC),
        imports=_SEQUENCE,
    ),
    Edit(
        name="save-faithful",
        symbol="AutoBridge.save_megatron_model",
        why="A model that the caller has built and loaded, on any number of ranks, is the source's, or nothing is "
        "published. A release records how it differs from its source model.",
        drop_when=_ACCOUNTS,
        without=_BUILDER,
        do=(
            InsertStatements(
                """
                waived: tuple[str, ...] = ()
                if release:
                    # The training package imports this module's package.
                    from megatron.bridge.release.validation.fidelity import require_faithful
                    from megatron.bridge.release.validation.provider import config_of, require_own_config

                    waived = require_faithful(
                        self, allow_unused_tensors, allow_config_fields, hf_tokenizer_path, hf_tokenizer_kwargs
                    ).waived
                    require_own_config(self, config_of(model))
                """
            ),
            PassArgument("save_megatron_model", "waived=waived"),
        ),
    ),
    Edit(
        name="save-own-values",
        symbol="AutoBridge.save_megatron_model",
        why="The Hugging Face config is compared with the values of the model, not with those of this host.",
        drop_when="upstream builds models on any host without changing the config that it saves.",
        do=ReplaceExpression("config_of(model)", "restore_model_values(__old__)"),
        imports=("from megatron.bridge.utils.host_compat import restore_model_values",),
    ),
    Edit(
        name="import-process-group",
        symbol="AutoBridge.import_ckpt",
        why="An import leaves the process as it found it, so that an export or another import can follow.",
        drop_when="the pinned upstream's import_ckpt makes a temporary process group (perf #5154).",
        versions="<0.7",
        do=AddDecorator("@conversion_process_group()", innermost=True),
        imports=("from megatron.bridge.utils.single_process import conversion_process_group",),
    ),
    Edit(
        name="auto-config-run-config",
        symbol="AutoBridge.from_auto_config",
        why="Megatron-LM, which may have saved into the root since, writes no run config. It only looks at a checkpoint, which "
        "one rank may do alone.",
        drop_when=_FOLLOWS,
        do=(
            ReplaceStatement(
                "from megatron.bridge.training.utils.checkpoint_root import resolve_run_config_folder",
                imports="find_checkpoint_folder",
                was="f477c9ac54fd",
            ),
            ReplaceExpression("find_checkpoint_folder(checkpoint_path)", "resolve_run_config_folder(checkpoint_path)"),
        ),
    ),
    Edit(
        name="import-streams",
        symbol="AutoBridge.import_ckpt",
        why="Each weight is converted when it is written: an import takes the memory of a few tensors.",
        drop_when="upstream streams an import.",
        without=_BUILDER,
        do=(
            ReplaceStatement(
                """
                streamed: list[MegatronModelT] | None = None
                if release:
                    # The training package imports this module's package.
                    from megatron.bridge.release.validation.fidelity import require_faithful
                    from megatron.bridge.release.write.streaming import streamed_model

                    accounted = require_faithful(bridge, allow_unused_tensors, allow_config_fields, hf_model_id)
                    streamed = streamed_model(bridge, accounted)
                """,
                tests="release",
                was="5be117fcd4bc",
            ),
            ReplaceExpression("bridge.to_megatron_model(...)", "streamed or __old__"),
        ),
    ),
    Edit(
        name="export-trained",
        symbol="AutoBridge.export_ckpt",
        why="An export had the source model's config, whatever flags the checkpoint was trained with, and as many tokens; its "
        "tokenizer did not load in transformers 4, and an export that was stopped looked whole.",
        drop_when="upstream derives the config of an export from the checkpoint, and publishes it when it is complete.",
        do=(
            *EXPORT,
            ExtendDocstring(
                "Raises:",
                "ValueError: If a Hugging Face config cannot express what was trained, if ``hf_path`` is not empty, or with\n"
                "    several processes. Raised before anything is written.",
            ),
            InsertStatements(
                """
                # The training package imports this module's package.
                from megatron.bridge.release.export.output_dir import check_one_process

                check_one_process()
                """
            ),
            InsertStatements(
                """
                # The training package imports this module's package.
                from megatron.bridge.release.export.run import export_checkpoint

                if export_checkpoint(
                    self,
                    megatron_path,
                    hf_path,
                    release=release_path,
                    dtype=dtype,
                    max_shard_size=max_shard_size,
                    tokenizer=tokenizer_path,
                    rope_scaling_factor=rope_scaling_factor,
                    source_path=source_path,
                    strict=strict,
                    show_progress=show_progress,
                ):
                    return

                """,
                before_call="self.load_megatron_model",
            ),
        ),
    ),
    Edit(
        name="save-hf-own-config",
        symbol="AutoBridge.save_hf_pretrained",
        why="A model that computes something else than the source's was saved with the source's config.json.",
        drop_when="upstream derives the saved config from the model.",
        do=(
            ExtendDocstring(
                "Raises:",
                "ValueError: If the config.json of the source model does not describe the model. Raised before anything is\n"
                "    written.",
            ),
            InsertStatements(
                """
                if model_bridge is not None:
                    # The training package imports this module's package.
                    from megatron.bridge.release.export.trained_model import check_source_config

                    check_source_config(self, model)
                """,
                before_call="dist.is_initialized",
            ),
        ),
    ),
    Edit(
        name="import-low-memory",
        symbol="AutoBridge.import_ckpt",
        why="Upstream's main has the parameter (perf #5154). Before, an import saves in this way always.",
        drop_when="the pinned upstream has it.",
        versions="<0.7",
        do=(
            AddParameter(
                "low_memory_save: bool = True",
                keyword_only=True,
                doc="low_memory_save: If True, frees the model while it is saved, which needs less memory and\n"
                "more time. Default is True.",
            ),
            PassArgument(_SAVE, "low_memory_save=low_memory_save"),
        ),
    ),
)
