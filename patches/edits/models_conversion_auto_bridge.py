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

"""Edits to upstream's models/conversion/auto_bridge.py."""

from patches.engine import (
    AddDecorator,
    AddImport,
    AddParameter,
    Edit,
    ExtendDocstring,
    InsertStatements,
    PassArgument,
    ReplaceCall,
    ReplaceStatement,
)


TARGET = "megatron/bridge/models/conversion/auto_bridge.py"

EDITS = (
    Edit(
        name="import-low-memory",
        symbol="AutoBridge.import_ckpt",
        why="Upstream's main has the parameter (perf #5154); the release follows its signature.",
        drop_when="the pinned upstream has it.",
        do=AddParameter(
            "low_memory_save: bool = False",
            keyword_only=True,
            doc="low_memory_save: If True, frees the model while it is saved, which needs less memory and\n"
            "more time. Default is False.",
        ),
    ),
    Edit(
        name="import-release",
        symbol="AutoBridge.import_ckpt",
        why="The checkpoint that Megatron-LM fine-tunes from, in one call.",
        drop_when="upstream's import_ckpt has a `release` parameter.",
        do=AddParameter(
            "release: bool = False",
            keyword_only=True,
            doc="release: If True, writes a release checkpoint, which Megatron-LM loads as it is: the folder\n"
            "``release`` and the tracker ``release``, published when every file is complete.\n"
            "Default is False, which writes ``iter_0000000`` and the tracker ``0``.",
        ),
    ),
    Edit(
        name="import-overwrite",
        symbol="AutoBridge.import_ckpt",
        why="A checkpoint that is there is lost only to who says so.",
        drop_when="upstream's import_ckpt has an `overwrite` parameter.",
        do=AddParameter(
            "overwrite: bool = False",
            keyword_only=True,
            doc="overwrite: If True, ``release=True`` replaces the release that ``megatron_path`` holds, when the\n"
            "new one is complete. Default is False: a folder that holds a checkpoint is refused.",
        ),
    ),
    Edit(
        name="import-example",
        symbol="AutoBridge.import_ckpt",
        why="Documents the parameter.",
        drop_when="the parameter is upstream's.",
        do=ExtendDocstring(
            "Example:",
            ">>> # Import as the release checkpoint that Megatron-LM fine-tunes from\n"
            ">>> AutoBridge.import_ckpt(\n"
            '...     "meta-llama/Meta-Llama-3-8B",\n'
            '...     "./megatron_checkpoints/llama3_8b",\n'
            "...     release=True\n"
            "... )",
        ),
    ),
    Edit(
        name="import-raises",
        symbol="AutoBridge.import_ckpt",
        why="Documents what is checked before the work.",
        drop_when="the parameter is upstream's.",
        do=ExtendDocstring(
            "Raises:",
            "ValueError: With ``release=True``, if the model or its architecture cannot be imported, or\n"
            "    ``megatron_path`` cannot hold the checkpoint. Raised before anything is written.",
        ),
    ),
    Edit(
        name="import-checks",
        symbol="AutoBridge.import_ckpt",
        why="What a user can get wrong is found before the long work, with one line that says what to do.",
        drop_when="upstream checks the paths of an import.",
        do=InsertStatements(
            "megatron_path = destination(megatron_path, release, overwrite)\n"
            "if release:\n"
            "    hf_model_id = check_import(hf_model_id, megatron_path, overwrite, kwargs)",
            at="start",
        ),
    ),
    Edit(
        name="import-process-group",
        symbol="AutoBridge.import_ckpt",
        why="An import leaves the process as it found it, so that an export or another import can follow.",
        drop_when="the pinned upstream's import_ckpt makes a temporary process group (perf #5154).",
        do=AddDecorator("@conversion_process_group()", innermost=True),
    ),
    Edit(
        name="import-passes-low-memory",
        symbol="AutoBridge.import_ckpt",
        why="Passes the parameter on.",
        drop_when="the pinned upstream has it.",
        do=PassArgument("bridge.save_megatron_model", "low_memory_save=low_memory_save"),
    ),
    Edit(
        name="import-passes-release",
        symbol="AutoBridge.import_ckpt",
        why="Passes the parameter on.",
        drop_when="upstream's import_ckpt has a `release` parameter.",
        do=PassArgument("bridge.save_megatron_model", "release=release"),
    ),
    Edit(
        name="import-passes-overwrite",
        symbol="AutoBridge.import_ckpt",
        why="Passes the parameter on.",
        drop_when="upstream's import_ckpt has an `overwrite` parameter.",
        do=PassArgument("bridge.save_megatron_model", "overwrite=overwrite"),
    ),
    Edit(
        name="import-allow-tensors",
        symbol="AutoBridge.import_ckpt",
        why="Who knows that a tensor is not needed can say so.",
        drop_when="upstream accounts for tensors and config fields.",
        do=AddParameter(
            "allow_unused_tensors: Sequence[str] = ()",
            keyword_only=True,
            doc="allow_unused_tensors: With ``release=True``, patterns, as of `fnmatch`, of the model's tensors that may be left\n"
            "out. Default is none: a tensor that is not converted is an error.",
        ),
    ),
    Edit(
        name="import-allow-fields",
        symbol="AutoBridge.import_ckpt",
        why="Who knows that a field does not matter can say so.",
        drop_when="upstream accounts for tensors and config fields.",
        do=AddParameter(
            "allow_config_fields: Sequence[str] = ()",
            keyword_only=True,
            doc="allow_config_fields: With ``release=True``, names of fields of the model's config whose values may be lost:\n"
            "Megatron-LM computes another function then. Default is none: a value that is not carried is an error.",
        ),
    ),
    Edit(
        name="import-faithful",
        symbol="AutoBridge.import_ckpt",
        why="What would not be the model is refused before any weight is read.",
        drop_when="upstream accounts for tensors and config fields.",
        do=InsertStatements(
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
    ),
    Edit(
        name="import-streamed",
        symbol="AutoBridge.import_ckpt",
        why="Each weight is converted when it is written: an import takes the memory of a few tensors.",
        drop_when="upstream streams an import.",
        do=ReplaceCall("bridge.to_megatron_model", "streamed or __call__"),
    ),
    Edit(
        name="import-passes-allow-tensors",
        symbol="AutoBridge.import_ckpt",
        why="Passes the parameter on.",
        drop_when="upstream accounts for tensors and config fields.",
        do=PassArgument("bridge.save_megatron_model", "allow_unused_tensors=allow_unused_tensors"),
    ),
    Edit(
        name="import-passes-allow-fields",
        symbol="AutoBridge.import_ckpt",
        why="Passes the parameter on.",
        drop_when="upstream accounts for tensors and config fields.",
        do=PassArgument("bridge.save_megatron_model", "allow_config_fields=allow_config_fields"),
    ),
    Edit(
        name="save-release",
        symbol="AutoBridge.save_megatron_model",
        why="The same for a model that the caller has built, on any parallel layout.",
        drop_when="upstream's save_megatron_model has a `release` parameter.",
        do=AddParameter(
            "release: bool = False",
            doc="release: If True, writes a release checkpoint, which Megatron-LM loads as it is: the folder\n"
            "``release`` and the tracker ``release``, published when every file is complete.\n"
            "Default is False, which writes ``iter_0000000`` and the tracker ``0``.",
        ),
    ),
    Edit(
        name="save-overwrite",
        symbol="AutoBridge.save_megatron_model",
        why="A checkpoint that is there is lost only to who says so.",
        drop_when="upstream's save_megatron_model has an `overwrite` parameter.",
        do=AddParameter(
            "overwrite: bool = False",
            doc="overwrite: If True, ``release=True`` replaces the release that ``path`` holds, when the\n"
            "new one is complete. Default is False: a folder that holds a checkpoint is refused.",
        ),
    ),
    Edit(
        name="save-example",
        symbol="AutoBridge.save_megatron_model",
        why="Documents the parameter.",
        drop_when="the parameter is upstream's.",
        do=ExtendDocstring(
            "Example:",
            ">>> # Save the release checkpoint that Megatron-LM fine-tunes from\n"
            '>>> bridge.save_megatron_model(megatron_model, "./megatron_checkpoint", release=True)',
        ),
    ),
    Edit(
        name="save-passes-release",
        symbol="AutoBridge.save_megatron_model",
        why="Passes the parameter on.",
        drop_when="upstream's save_megatron_model has a `release` parameter.",
        do=PassArgument("save_megatron_model", "release=release"),
    ),
    Edit(
        name="save-passes-overwrite",
        symbol="AutoBridge.save_megatron_model",
        why="Passes the parameter on.",
        drop_when="upstream's save_megatron_model has an `overwrite` parameter.",
        do=PassArgument("save_megatron_model", "overwrite=overwrite"),
    ),
    Edit(
        name="save-allow-tensors",
        symbol="AutoBridge.save_megatron_model",
        why="Who knows that a tensor is not needed can say so.",
        drop_when="upstream accounts for tensors and config fields.",
        do=AddParameter(
            "allow_unused_tensors: Sequence[str] = ()",
            doc="allow_unused_tensors: With ``release=True``, patterns, as of `fnmatch`, of the model's tensors that may be left\n"
            "out. Default is none: a tensor that is not converted is an error.",
        ),
    ),
    Edit(
        name="save-allow-fields",
        symbol="AutoBridge.save_megatron_model",
        why="Who knows that a field does not matter can say so.",
        drop_when="upstream accounts for tensors and config fields.",
        do=AddParameter(
            "allow_config_fields: Sequence[str] = ()",
            doc="allow_config_fields: With ``release=True``, names of fields of the model's config whose values may be lost:\n"
            "Megatron-LM computes another function then. Default is none: a value that is not carried is an error.",
        ),
    ),
    Edit(
        name="save-faithful",
        symbol="AutoBridge.save_megatron_model",
        why="A model that the caller has built and loaded, on any number of ranks, is the source's, or nothing is published.",
        drop_when="upstream accounts for tensors and config fields.",
        do=InsertStatements(
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
            """,
            at="start",
        ),
    ),
    Edit(
        name="save-passes-let-through",
        symbol="AutoBridge.save_megatron_model",
        why="A release says what it lacks of its source.",
        drop_when="upstream accounts for tensors and config fields.",
        do=PassArgument("save_megatron_model", "let_through=let_through"),
    ),
    Edit(
        name="import-sequence",
        symbol="",
        why="Name used by the edits above.",
        drop_when="the edits above are gone.",
        do=AddImport("from collections.abc import Sequence"),
    ),
    Edit(
        name="load-root",
        symbol="AutoBridge.load_megatron_model",
        why="It looked for iter_* folders alone, and took the highest one where the tracker names another. The "
        "function that it calls follows the tracker.",
        drop_when="upstream's function follows the tracker.",
        do=ReplaceStatement("checkpoint_path = path", assigns="checkpoint_path", calls="Path"),
    ),
    Edit(
        name="load-root-listing",
        symbol="AutoBridge.load_megatron_model",
        why="The listing of iter_* folders that load-root replaces.",
        drop_when="upstream's function follows the tracker.",
        do=ReplaceStatement("", assigns="iter_folders"),
    ),
    Edit(
        name="load-root-highest",
        symbol="AutoBridge.load_megatron_model",
        why="The choice among iter_* folders that load-root replaces.",
        drop_when="upstream's function follows the tracker.",
        do=ReplaceStatement("", tests="iter_folders"),
    ),
    Edit(
        name="auto-config-root",
        symbol="AutoBridge.from_auto_config",
        why="It looked for iter_* folders alone, and took the highest one where the tracker names another.",
        drop_when="upstream's function follows the tracker.",
        do=InsertStatements(
            # The training package imports this module's package: what is needed from there is imported where it is used.
            "from megatron.bridge.training.utils.checkpoint_root import resolve_run_config_folder\n\n"
            "checkpoint_path = Path(resolve_run_config_folder(checkpoint_path))",
            after_call="checkpoint_path.exists",
        ),
    ),
    Edit(
        name="adapter-root",
        symbol="AutoBridge.export_adapter_ckpt",
        why="Its documentation offers a run's root, which it did not resolve.",
        drop_when="upstream's function follows the tracker.",
        do=InsertStatements(
            "from megatron.bridge.training.utils.checkpoint_root import resolve_checkpoint_folder\n\n"
            "ckpt_path = Path(resolve_checkpoint_folder(ckpt_path))",
            after_call="ckpt_path.exists",
        ),
    ),
    Edit(
        name="import-destination",
        symbol="",
        why="Name used by the edits above.",
        drop_when="the edits above are gone.",
        do=AddImport("from megatron.bridge.training.release.destination import destination"),
    ),
    Edit(
        name="import-import-checks",
        symbol="",
        why="Name used by the edits above.",
        drop_when="the edits above are gone.",
        do=AddImport("from megatron.bridge.training.utils.import_checks import check_import"),
    ),
    Edit(
        name="import-host",
        symbol="",
        why="Name used by the edits above.",
        drop_when="the edits above are gone.",
        do=AddImport("from megatron.bridge.utils.host import conversion_process_group"),
    ),
)
