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

"""Edits to upstream's training/checkpointing.py."""

from patches.engine import (
    AddDecorator,
    AddImport,
    AddParameter,
    Edit,
    InsertStatements,
    PassArgument,
    ReplaceBody,
    ReplaceCall,
    ReplaceDocstring,
    ReplaceStatement,
    ReplaceTest,
)


TARGET = "megatron/bridge/training/checkpointing.py"

EDITS = (
    Edit(
        name="save-checkpoint-release",
        symbol="save_checkpoint",
        why="Megatron-LM's function of this name has `release`; it writes a release checkpoint.",
        drop_when="upstream's save_checkpoint has a `release` parameter.",
        do=AddParameter(
            "release: bool = False",
            doc="release: If True, writes the checkpoint folder ``release`` and the tracker ``release``, from which\n"
            "Megatron-LM starts fine-tuning. Default is False.",
        ),
    ),
    Edit(
        name="save-checkpoint-folder",
        symbol="save_checkpoint",
        why="The folder is release/ from the start, never a renamed iter_0000000.",
        drop_when="upstream's save_checkpoint has a `release` parameter.",
        do=PassArgument("get_checkpoint_name", "release=release"),
    ),
    Edit(
        name="save-checkpoint-tracker",
        symbol="save_checkpoint",
        why="The tracker names the folder that was written, on a filesystem and on an object store.",
        drop_when="upstream's save_checkpoint has a `release` parameter.",
        do=ReplaceCall("f.write", 'f.write("release" if release else str(step))', count=2),
    ),
    Edit(
        name="save-checkpoint-tracker-last",
        symbol="save_checkpoint",
        why="On an object store nothing is staged, and the run config and the tokenizer come after the tracker: "
        "a release's is written by who saves it, publishes_release, when all is there.",
        drop_when="upstream writes the tracker last.",
        do=ReplaceCall("msc.open", "open_tracker_object(tracker_filename, release)"),
    ),
    Edit(
        name="save-checkpoint-state-dict",
        symbol="save_checkpoint",
        why="A release carries Megatron-LM's args, and loads in models built with and without Transformer Engine, "
        "whichever wrote it.",
        drop_when="upstream saves `args`, and Megatron Core's own layer specs write the keys that its Transformer "
        "Engine specs read.",
        do=InsertStatements(
            "if release:\n    prepare_release_state_dict(state_dict, cfg)\n\n",
            before_call="_get_model_glu_interleave_sizes",
        ),
    ),
    Edit(
        name="save-checkpoint-run-config",
        symbol="save_checkpoint",
        why="run_config.yaml describes the model and the place it is published at, not the host that converted it.",
        drop_when="upstream builds models on any host without changing the config that it saves.",
        do=ReplaceCall("cfg.to_yaml", "write_run_config(cfg, config_filename)"),
    ),
    Edit(
        name="save-checkpoint-train-state",
        symbol="save_checkpoint",
        why="Where torch.save opens the file itself, a full disk is a RuntimeError that does not say so.",
        drop_when="torch.save raises the operating system's error.",
        do=ReplaceCall(
            "torch.save",
            "(save_object if release else torch.save)(train_state_dict, train_state_local_filename)",
        ),
    ),
    Edit(
        name="save-checkpoint-without-cuda",
        symbol="save_checkpoint",
        why="Megatron Core's torch_dist writer asks CUDA for a device that a conversion does not use.",
        drop_when="megatron-core's writer runs on a host without CUDA.",
        do=AddDecorator("@checkpointing_without_cuda()"),
    ),
    Edit(
        name="tokenizer-required",
        symbol="save_tokenizer_assets",
        why="A release without its tokenizer, or with a part of it, must not be published.",
        drop_when="upstream's function raises what it logs.",
        do=AddParameter(
            "required: bool = False",
            doc="required: If True, raises what stops it. Default is False: it is logged.",
        ),
    ),
    Edit(
        name="tokenizer-raises",
        symbol="save_tokenizer_assets",
        why="A release without its tokenizer, or with a part of it, must not be published.",
        drop_when="upstream's function raises what it logs.",
        do=InsertStatements(
            """
            if required:
                raise TokenizerNotSaved(f"The tokenizer could not be saved, so nothing is published: {e}") from e
            """,
            before_call="get_rank_safe",
        ),
    ),
    Edit(
        name="import-release-checkpoint",
        symbol="",
        why="Names used by the edits above.",
        drop_when="the edits above are gone.",
        do=AddImport(
            "from megatron.bridge.training.release_checkpoint import "
            "TokenizerNotSaved, open_tracker_object, prepare_release_state_dict, save_object, write_run_config"
        ),
    ),
    Edit(
        name="import-host",
        symbol="",
        why="Name used by the edit to save_checkpoint.",
        drop_when="that edit is gone.",
        do=AddImport("from megatron.bridge.utils.host import checkpointing_without_cuda"),
    ),
    Edit(
        name="import-checkpoint-root",
        symbol="",
        why="Names used by the edits to the readers.",
        drop_when="those edits are gone.",
        do=AddImport(
            "from megatron.bridge.training.utils.checkpoint_root import "
            "checkpoint_folder, on_rank_0, read_tracker, read_tracker_file"
        ),
    ),
    Edit(
        name="rng-state-without-cuda",
        symbol="get_rng_state",
        why="A host without CUDA has no CUDA generator, and a conversion keeps no RNG state.",
        drop_when="upstream's get_rng_state runs on a host without CUDA.",
        do=ReplaceCall("torch.cuda.get_rng_state", "__call__ if torch.cuda.is_available() else None"),
    ),
    Edit(
        name="read-metadata",
        symbol="read_metadata",
        why="A torn tracker must be an error with a non-zero exit, the tracker 0 (upstream's own imports) must "
        "pass, and reading a text file needs no CUDA device.",
        drop_when="upstream's read_metadata raises on a bad tracker and works without CUDA.",
        do=ReplaceBody("return on_rank_0(lambda: read_tracker_file(tracker_filename))"),
    ),
    Edit(
        name="read-metadata-docstring",
        symbol="read_metadata",
        why="It reads on rank 0 now, and raises.",
        drop_when="upstream's read_metadata raises on a bad tracker.",
        do=ReplaceDocstring(
            """
            Read a text tracker, ``latest_checkpointed_iteration.txt``, on rank 0 for every rank.

            Args:
                tracker_filename: Path to the tracker file.

            Returns:
                The iteration, 0 for a release checkpoint, and whether it is one.

            Raises:
                ValueError: If the tracker is torn, empty, or holds anything else.
            """
        ),
    ),
    Edit(
        name="resolve-iteration",
        symbol="_resolve_checkpoint_iteration",
        why="The text tracker decides: latest_train_state.pt knows no release, and is stale as soon as Megatron-LM "
        "has gone on training in the root.",
        drop_when="upstream reads latest_checkpointed_iteration.txt before latest_train_state.pt.",
        do=ReplaceBody(
            """
            if load_dir is None:
                return -1, False
            if is_checkpoint_iteration_directory(load_dir):
                print_rank_0(f"Loading the checkpoint folder {load_dir} itself")
                return _DIRECT_ITERATION_DIR_SENTINEL, False
            if ckpt_step_override is not None:
                checkpoint_folder(load_dir, ckpt_step_override, release=False, named_by="ckpt_step")
                return ckpt_step_override, False
            return on_rank_0(lambda: read_tracker(load_dir)) or (-1, False)
            """
        ),
    ),
    Edit(
        name="resolve-iteration-docstring",
        symbol="_resolve_checkpoint_iteration",
        why="It follows the text tracker now.",
        drop_when="upstream reads latest_checkpointed_iteration.txt before latest_train_state.pt.",
        do=ReplaceDocstring(
            """
            Tell which checkpoint to load. Collective, unless ``load_dir`` is a checkpoint folder.

            Args:
                load_dir: Checkpoint root, or a checkpoint folder itself.
                ckpt_step_override: The iteration that the user asks for (``ckpt_step``), whose folder must be there.

            Returns:
                The iteration, and whether it is a release checkpoint. ``_DIRECT_ITERATION_DIR_SENTINEL`` stands for
                ``load_dir`` itself, -1 for none. Else it is what the text tracker names, or
                ``latest_train_state.pt`` where there is no text tracker.

            Raises:
                FileNotFoundError: If there is no folder of ``ckpt_step_override``.
                ValueError: If the tracker is torn, empty, or holds anything else.
            """
        ),
    ),
    Edit(
        name="load-base-folder",
        symbol="_load_base_checkpoint",
        why="A tracker that names a missing folder is an error that says which folders are there.",
        drop_when="upstream checks that the folder its tracker names exists.",
        do=ReplaceStatement(
            "checkpoint_path = checkpoint_folder(load_dir, iteration, release)",
            assigns="checkpoint_path",
            calls="get_checkpoint_name",
        ),
    ),
    Edit(
        name="load-fsdp-dtensor-folder",
        symbol="_load_checkpoint_from_path",
        why="The fsdp_dtensor branch finds its folder by the same rule as the torch_dist branch.",
        drop_when="upstream's fsdp_dtensor branch calls _resolve_checkpoint_iteration.",
        do=ReplaceStatement(
            """
            iteration, release = _resolve_checkpoint_iteration(load_dir, None)
            if iteration == -1:
                print_rank_0(f"WARNING: no tracker in {load_dir}, nothing is loaded")
                return 0, 0
            checkpoint_name = (
                load_dir
                if iteration == _DIRECT_ITERATION_DIR_SENTINEL
                else checkpoint_folder(load_dir, iteration, release)
            )
            """,
            tests="is_checkpoint_iteration_directory(load_dir)",
        ),
    ),
    Edit(
        name="load-fsdp-dtensor-release",
        symbol="_load_checkpoint_from_path",
        why="A release has neither optimizer nor RNG state to ask for, as in the torch_dist branch.",
        drop_when="upstream's fsdp_dtensor branch looks at `release`.",
        do=ReplaceTest(
            "not cfg.checkpoint.finetune",
            "not release and not cfg.checkpoint.finetune",
            containing="get_rerun_state_machine",
        ),
    ),
)
