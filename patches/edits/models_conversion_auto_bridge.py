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
    "release: If True, writes a release checkpoint, which Megatron-LM fine-tunes from: the folder\n"
    "``release`` and the tracker ``release``. Default is False, which writes ``iter_0000000``\n"
    "and the tracker ``0``."
)
_OVERWRITE = "overwrite: bool = False"
_OVERWRITE_WHY = "A checkpoint that is there is lost only to who says so."
_FIND = "from megatron.bridge.training.checkpointing import find_checkpoint_folder"
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
            AddParameter("release: bool = False", keyword_only=True, doc=_RELEASE_DOC),
            PassArgument(_SAVE, "release=release"),
        ),
    ),
    Edit(
        name="save-release",
        symbol="AutoBridge.save_megatron_model",
        why="The same for a model that the caller has built, on any parallel layout.",
        drop_when="upstream's save_megatron_model has a `release` parameter.",
        do=(
            AddParameter("release: bool = False", doc=_RELEASE_DOC),
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
        why=f"{_OVERWRITE_WHY} What stands against the destination is found before the long work.",
        drop_when="upstream's import_ckpt has an `overwrite` parameter.",
        do=(
            AddParameter(
                _OVERWRITE,
                keyword_only=True,
                doc="overwrite: If True, ``release=True`` replaces the release that ``megatron_path`` holds, when the\n"
                "new one is complete. Default is False: a folder that holds a checkpoint is refused.",
            ),
            ExtendDocstring(
                "Raises:",
                "ValueError: With ``release=True``, if ``megatron_path`` cannot hold the checkpoint, or the model or\n"
                "    its architecture cannot be imported. Raised before anything is written.",
            ),
            InsertStatements(
                """
                megatron_path = destination(megatron_path, release, overwrite)
                if release:
                    on_rank_0(lambda: check_destination(megatron_path, overwrite))
                """
            ),
            PassArgument(_SAVE, "overwrite=overwrite"),
        ),
        imports=(
            "from megatron.bridge.training.release.destination import check_destination, destination",
            "from megatron.bridge.training.utils.all_ranks import on_rank_0",
        ),
    ),
    Edit(
        name="save-overwrite",
        symbol="AutoBridge.save_megatron_model",
        why=_OVERWRITE_WHY,
        drop_when="upstream's save_megatron_model has an `overwrite` parameter.",
        do=(
            AddParameter(
                _OVERWRITE,
                doc="overwrite: If True, ``release=True`` replaces the release that ``path`` holds, when the\n"
                "new one is complete. Default is False: a folder that holds a checkpoint is refused.",
            ),
            PassArgument("save_megatron_model", "overwrite=overwrite"),
        ),
    ),
    Edit(
        name="import-checks",
        symbol="AutoBridge.import_ckpt",
        why="What a user can get wrong is found before the long work, with one line that says what to do.",
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
            "from megatron.bridge.training.release.preflight import check_import, keywords_of_files",
            "from megatron.bridge.training.release.source_model import SourceModel",
        ),
    ),
    Edit(
        name="source-model",
        symbol="AutoBridge.__init__",
        why="An import reads one snapshot of a model of the Hub, and records its ID and commit.",
        drop_when=_REVISIONS,
        do=InsertStatements("self.source_model: SourceModel | None = None", at_end=True),
        imports=("from megatron.bridge.training.release.source_model import SourceModel",),
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
        why="What would not be the model is refused before any weight is read.",
        drop_when=_ACCOUNTS,
        without=_BUILDER,
        do=InsertStatements(
            """
            if release:
                # The training package imports this module's package.
                from megatron.bridge.training.release.faithful import require_faithful

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
        without=_BUILDER,
        do=(
            InsertStatements(
                """
                let_through: tuple[str, ...] = ()
                if release:
                    # The training package imports this module's package.
                    from megatron.bridge.training.release.faithful import require_faithful
                    from megatron.bridge.training.release.own_config import config_of, require_own_config

                    let_through = require_faithful(
                        self, allow_unused_tensors, allow_config_fields, hf_tokenizer_path, hf_tokenizer_kwargs
                    ).let_through
                    require_own_config(self, config_of(model))
                """
            ),
            PassArgument("save_megatron_model", "let_through=let_through"),
        ),
    ),
    Edit(
        name="save-own-values",
        symbol="AutoBridge.save_megatron_model",
        why="What the Hugging Face config says is asked of the model's own values, not of this host's.",
        drop_when="upstream builds models on any host without changing the config that it saves.",
        do=ReplaceExpression("config_of(model)", "without_host_values(__old__)"),
        imports=("from megatron.bridge.utils.host import without_host_values",),
    ),
    Edit(
        name="import-process-group",
        symbol="AutoBridge.import_ckpt",
        why="An import leaves the process as it found it, so that an export or another import can follow.",
        drop_when="the pinned upstream's import_ckpt makes a temporary process group (perf #5154).",
        versions="<0.7",
        do=AddDecorator("@conversion_process_group()", innermost=True),
        imports=("from megatron.bridge.utils.conversion_group import conversion_process_group",),
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
                    from megatron.bridge.training.release.faithful import require_faithful
                    from megatron.bridge.training.release.streaming import streamed_model

                    accounted = require_faithful(bridge, allow_unused_tensors, allow_config_fields, hf_model_id)
                    streamed = streamed_model(bridge, accounted)
                """,
                tests="release",
                was="253a757797f0",
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
            ExtendDocstring(
                "Raises:",
                "ValueError: If a Hugging Face config cannot express what was trained, if ``hf_path`` is not empty, or with\n"
                "    several processes. Raised before anything is written.",
            ),
            InsertStatements(
                """
                # The training package imports this module's package.
                from megatron.bridge.training.release.export_folder import check_one_process

                check_one_process()
                """
            ),
            InsertStatements(
                """
                # The training package imports this module's package.
                from megatron.bridge.training.release.exporting import export_checkpoint

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
                    from megatron.bridge.training.release.trained_model import require_source_config

                    require_source_config(self, model)
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
