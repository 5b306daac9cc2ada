# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's training/checkpointing.py."""

from patches.edit import Edit
from patches.operations import (
    AddDecorator,
    AddParameter,
    InsertStatements,
    PassArgument,
    ReplaceBody,
    ReplaceDocstring,
    ReplaceExpression,
    ReplaceStatement,
)


TARGET = "megatron/bridge/training/checkpointing.py"

_RELEASE_DROP = "upstream's save_checkpoint has a `release` parameter."
_TOKENIZER_WHY = "A release without its tokenizer, or with a part of it, must not be published."

EDITS = (
    Edit(
        name="save-release",
        symbol="save_checkpoint",
        why="Megatron-LM's function of this name has `release`; it writes a release checkpoint. The folder is release/ "
        "from the start, never a renamed iter_0000000.",
        drop_when=_RELEASE_DROP,
        do=(
            AddParameter(
                "release: bool = False",
                doc="release: If True, writes the checkpoint folder ``release`` and the tracker ``release``, from which\n"
                "Megatron-LM starts fine-tuning. Default is False.",
            ),
            PassArgument("get_checkpoint_name", "release=release"),
        ),
    ),
    Edit(
        name="save-tracker",
        symbol="save_checkpoint",
        why="The tracker names the folder that was written, on a filesystem and on an object store. On an object store "
        "nothing is staged, and the run config and the tokenizer come after the tracker: a release's is written by who "
        "saves it, publishes_release, when all is there.",
        drop_when=_RELEASE_DROP,
        do=(
            ReplaceExpression("f.write(...)", 'f.write("release" if release else str(step))', count=2),
            ReplaceExpression("msc.open(...)", "open_tracker_object(tracker_filename, release)"),
        ),
        imports=("from megatron.bridge.training.release.saving import open_tracker_object",),
    ),
    Edit(
        name="save-state-dict",
        symbol="save_checkpoint",
        why="A release carries Megatron-LM's args, and loads in models built with and without Transformer Engine, "
        "whichever wrote it.",
        drop_when="upstream saves `args`, and Megatron Core's own layer specs write the keys that its Transformer "
        "Engine specs read.",
        do=InsertStatements(
            "if release:\n    prepare_release_state_dict(state_dict, cfg)\n\n",
            before_call="_get_model_glu_interleave_sizes",
        ),
        imports=("from megatron.bridge.training.release.contents import prepare_release_state_dict",),
    ),
    Edit(
        name="save-run-config",
        symbol="save_checkpoint",
        why="run_config.yaml names the place where a release is published, not the staging folder.",
        drop_when=_RELEASE_DROP,
        do=ReplaceExpression("cfg.to_yaml(...)", "write_run_config(cfg, config_filename) if release else __old__"),
        imports=("from megatron.bridge.training.release.contents import write_run_config",),
    ),
    Edit(
        name="save-train-state",
        symbol="save_checkpoint",
        why="Where torch.save opens the file itself, a full disk is a RuntimeError that does not say so.",
        drop_when="torch.save raises the operating system's error.",
        do=ReplaceExpression(
            "torch.save(...)", "(save_object if release else torch.save)(train_state_dict, train_state_local_filename)"
        ),
        imports=("from megatron.bridge.training.release.contents import save_object",),
    ),
    Edit(
        name="save-without-cuda",
        symbol="save_checkpoint",
        why="Megatron Core's torch_dist writer asks CUDA for a device that a conversion does not use.",
        drop_when="megatron-core's writer runs on a host without CUDA.",
        do=AddDecorator("@checkpointing_without_cuda()"),
        imports=("from megatron.bridge.utils.without_cuda import checkpointing_without_cuda",),
    ),
    Edit(
        name="tokenizer-required",
        symbol="save_tokenizer_assets",
        why=_TOKENIZER_WHY,
        drop_when="upstream's function raises what it logs.",
        do=(
            AddParameter(
                "required: bool = False",
                doc="required: If True, raises what stops it. Default is False: it is logged.",
            ),
            InsertStatements(
                """
                if required:
                    raise TokenizerNotSaved(f"The tokenizer could not be saved, so nothing is published: {e}") from e
                """,
                before_call="get_rank_safe",
            ),
        ),
        imports=("from megatron.bridge.training.release.tokenizer import TokenizerNotSaved",),
    ),
    Edit(
        name="rng-state-without-cuda",
        symbol="get_rng_state",
        why="A host without CUDA has no CUDA generator, and a conversion keeps no RNG state.",
        drop_when="upstream's get_rng_state runs on a host without CUDA.",
        do=ReplaceExpression("torch.cuda.get_rng_state(...)", "__old__ if torch.cuda.is_available() else None"),
    ),
    Edit(
        name="read-metadata",
        symbol="read_metadata",
        why="A torn tracker must be an error with a non-zero exit, the tracker 0 (upstream's own imports) must "
        "pass, and reading a text file needs no CUDA device.",
        drop_when="upstream's read_metadata raises on a bad tracker and works without CUDA.",
        do=(
            ReplaceBody("return on_rank_0(lambda: read_tracker_file(tracker_filename))", was="668661d5cf57"),
            ReplaceDocstring(
                """
                Read a text tracker, ``latest_checkpointed_iteration.txt``, on rank 0 for every rank.

                Args:
                    tracker_filename: Path to the tracker file.

                Returns:
                    The iteration, 0 for a release checkpoint, and whether it is one.

                Raises:
                    ValueError: If the tracker is torn, empty, or holds anything else.
                """,
                was="1edef62578d8",
            ),
        ),
        imports=(
            "from megatron.bridge.training.utils.all_ranks import on_rank_0",
            "from megatron.bridge.training.utils.checkpoint_root import read_tracker_file",
        ),
    ),
    Edit(
        name="resolve-iteration",
        symbol="_resolve_checkpoint_iteration",
        why="The text tracker decides: latest_train_state.pt knows no release, and is stale as soon as Megatron-LM "
        "has gone on training in the root.",
        drop_when="upstream reads latest_checkpointed_iteration.txt before latest_train_state.pt.",
        do=(
            ReplaceBody(
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
                """,
                was="265b9c04be85",
            ),
            ReplaceDocstring(
                """
                Find the checkpoint to load. Collective, unless ``load_dir`` is a checkpoint folder.

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
                """,
                was="e0e09247b254",
            ),
        ),
        imports=(
            "from megatron.bridge.training.utils.all_ranks import on_rank_0",
            "from megatron.bridge.training.utils.checkpoint_root import checkpoint_folder, read_tracker",
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
            was="35574757dd32",
        ),
        imports=("from megatron.bridge.training.utils.checkpoint_root import checkpoint_folder",),
    ),
    Edit(
        name="load-fsdp-dtensor",
        symbol="_load_checkpoint_from_path",
        why="The fsdp_dtensor branch finds its folder by the same rule as the torch_dist branch, and, as there, a release "
        "has neither optimizer nor RNG state to ask for.",
        drop_when="upstream's fsdp_dtensor branch calls _resolve_checkpoint_iteration, and looks at `release`.",
        do=(
            ReplaceStatement(
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
                was="e6f063d8bed5",
            ),
            ReplaceExpression(
                "not cfg.checkpoint.finetune", "not release and __old__", guarding="get_rerun_state_machine"
            ),
        ),
        imports=("from megatron.bridge.training.utils.checkpoint_root import checkpoint_folder",),
    ),
)
