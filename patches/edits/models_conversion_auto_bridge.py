# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/conversion/auto_bridge.py."""

from patches.edit import Edit
from patches.edits._auto_bridge_parameters import EXPORT, release_parameters
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

_FOLLOWS = "upstream's function follows the tracker."
_FIND = "from megatron.bridge.training.checkpointing import find_checkpoint_folder"
_REVISIONS = "upstream resolves a revision once, and reads config, tokenizer and weights of that commit."
# In later versions, families with this switch are built by a model builder, and not by the provider that is checked.
_BUILDER = "USE_MODEL_CONFIG_FOR_CONVERSION"
_IMPORTS = (
    "from collections.abc import Sequence",
    "from megatron.bridge.release.validation.errors import OverwriteWithoutReleaseError",
)

EDITS = (
    Edit(
        name="import-release",
        symbol="AutoBridge.import_ckpt",
        why="Writes the checkpoint that Megatron-LM fine-tunes from, in one call: checked before the long work, streamed, and "
        "published when it is complete. The default import stays as it is.",
        drop_when="upstream's import_ckpt has a `release` parameter.",
        without=_BUILDER,
        do=(
            *release_parameters("megatron_path", keyword_only=True),
            ExtendDocstring(
                "Raises:",
                "ReleaseError: With ``release=True``, if ``megatron_path`` cannot be used or the model cannot be imported.\n"
                "    Raised before anything is written.",
            ),
            InsertStatements(
                """
                if release:
                    # Imported here to avoid a circular import.
                    from megatron.bridge.release.write.run import import_model

                    import_model(
                        cls,
                        hf_model_id,
                        megatron_path,
                        overwrite=overwrite,
                        allow_unused_tensors=allow_unused_tensors,
                        allow_config_fields=allow_config_fields,
                        keywords=kwargs,
                    )
                    return
                if overwrite:
                    raise OverwriteWithoutReleaseError

                """
            ),
        ),
        imports=_IMPORTS,
    ),
    Edit(
        name="save-release",
        symbol="AutoBridge.save_megatron_model",
        why="Does the same for a model that the caller has built, on any parallel layout.",
        drop_when="upstream's save_megatron_model has a `release` parameter.",
        without=_BUILDER,
        do=(
            *release_parameters("path"),
            InsertStatements(
                """
                if release:
                    # Imported here to avoid a circular import.
                    from megatron.bridge.release.write.run import save_bridge_model

                    save_bridge_model(
                        self,
                        model,
                        path,
                        overwrite=overwrite,
                        allow_unused_tensors=allow_unused_tensors,
                        allow_config_fields=allow_config_fields,
                        tokenizer_path=hf_tokenizer_path,
                        tokenizer_kwargs=hf_tokenizer_kwargs,
                    )
                    return
                if overwrite:
                    raise OverwriteWithoutReleaseError

                """
            ),
        ),
        imports=_IMPORTS,
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
            from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder

            ckpt_path = Path(resolve_checkpoint_folder(ckpt_path))
            """,
            after_call="ckpt_path.exists",
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
        name="import-process-group",
        symbol="AutoBridge.import_ckpt",
        why="An import leaves the process as it found it, so that an export or another import can follow.",
        drop_when="the pinned upstream's import_ckpt makes a temporary process group (perf #5154).",
        versions="<0.7",
        do=AddDecorator("@conversion_process_group()", innermost=True),
        imports=("from megatron.bridge.utils.single_process import conversion_process_group",),
    ),
    Edit(
        name="import-in-child",
        symbol="AutoBridge.import_ckpt",
        why="Without Transformer Engine, or without CUDA, the model is built in a child process with a stand-in for it.",
        drop_when="upstream builds models on any host.",
        do=InsertStatements(
            """
            if not has_transformer_engine():
                run_in_child(cls.import_ckpt, hf_model_id, megatron_path, **kwargs)
                return
            """,
            before_call="cls.from_hf_pretrained",
        ),
        imports=(
            "from megatron.bridge.release.host.child_process import run_in_child",
            "from megatron.bridge.utils.te_requirements import has_transformer_engine",
        ),
    ),
    Edit(
        name="auto-config-run-config",
        symbol="AutoBridge.from_auto_config",
        why="Megatron-LM, which may have saved into the root since, writes no run config. It only looks at a checkpoint, which "
        "one rank may do alone.",
        drop_when=_FOLLOWS,
        do=(
            ReplaceStatement(
                "from megatron.bridge.training.utils.checkpoint_resolver import resolve_run_config_folder",
                imports="find_checkpoint_folder",
                was="f477c9ac54fd",
            ),
            ReplaceExpression("find_checkpoint_folder(checkpoint_path)", "resolve_run_config_folder(checkpoint_path)"),
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
            PassArgument("bridge.save_megatron_model", "low_memory_save=low_memory_save"),
            PassArgument("run_in_child", "low_memory_save=low_memory_save"),
        ),
    ),
)
