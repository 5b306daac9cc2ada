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

_TRACKER_DROP = "upstream reads latest_checkpointed_iteration.txt before latest_train_state.pt."
# Where a state dict is whole, and not saved yet.
_STATE_DICT = "_get_model_glu_interleave_sizes"

EDITS = (
    Edit(
        name="save-release",
        symbol="save_checkpoint",
        why="A release has Megatron-LM's args and the keys of models with and without Transformer Engine. Its folder is release/ "
        "from the start, never a renamed iter_0000000, and its other files and trackers are written by the caller.",
        drop_when="upstream's save_checkpoint has a `release` parameter.",
        do=(
            AddParameter(
                "release_args: Namespace | None = None",
                doc="release_args: Megatron-LM's args. If given, writes the weights of a release into the folder ``release``, with\n"
                "these args, and neither the files beside them nor trackers. Default is None.",
            ),
            PassArgument("get_checkpoint_name", "release=release_args is not None"),
            InsertStatements(
                """
                if release_args is not None:
                    state_dict["args"] = release_args
                    add_local_model_keys(state_dict)
                    if checkpointing_context is None:
                        # The strategy of a release checks the values when it writes them.
                        check_state_dict_finite(state_dict)

                """,
                before_call=_STATE_DICT,
            ),
            ReplaceExpression(
                "get_rank_safe() == 0",
                "release_args is None and __old__",
                guarding="get_checkpoint_train_state_filename",
            ),
        ),
        imports=(
            "from argparse import Namespace",
            "from megatron.bridge.release.validation.finite import check_state_dict_finite",
            "from megatron.bridge.release.write.local_model_keys import add_local_model_keys",
        ),
    ),
    Edit(
        name="weights-of-either-layer-spec",
        symbol="_load_model_weights_from_checkpoint",
        why="Megatron-LM may have trained the model with its own modules, whose checkpoints have other keys.",
        drop_when="upstream loads the weights of models that were trained with --transformer-impl local.",
        do=InsertStatements(
            "fit_to_checkpoint(sharded_state_dict, checkpoint_path)\n", before_call="TorchDistLoadShardedStrategy"
        ),
        imports=("from megatron.bridge.release.write.local_model_keys import fit_to_checkpoint",),
    ),
    Edit(
        name="read-metadata-of-imports",
        symbol="read_metadata",
        why="The tracker 0 is what an import writes, and reading a text file needs no CUDA device.",
        drop_when="upstream's read_metadata takes 0 and works without CUDA.",
        do=(
            ReplaceExpression('"cuda"', '__old__ if torch.cuda.is_available() else "cpu"'),
            ReplaceExpression("iteration > 0 or release", "iteration >= 0"),
        ),
    ),
    Edit(
        name="release-at-step-0",
        symbol="_resolve_checkpoint_iteration",
        why="latest_train_state.pt knows no release: beside one, as beside any import, it says 0. Where it does, "
        "Megatron-LM's tracker decides, which goes on alone when Megatron-LM trains in the root.",
        drop_when=_TRACKER_DROP,
        do=ReplaceStatement(
            """
            iteration = train_state.step
            text_tracker = get_checkpoint_tracker_filename(load_dir)
            if iteration == 0 and file_exists(text_tracker):
                iteration, release = read_metadata(text_tracker)
            """,
            assigns="iteration",
            was="7bf74089ba3f",
        ),
    ),
    Edit(
        name="find-folder",
        symbol="",
        why="Who takes a checkpoint root finds its checkpoint folder by the one rule of _resolve_checkpoint_iteration.",
        drop_when="upstream has such a function.",
        do=InsertStatements(
            '''
            def find_checkpoint_folder(path: str | os.PathLike[str]) -> str:
                """Find the checkpoint folder that a checkpoint root's tracker names.

                Args:
                    path: Checkpoint root, or a checkpoint folder itself.

                Returns:
                    The checkpoint folder; ``path`` where it is one, or has no tracker.
                """
                iteration, release = _resolve_checkpoint_iteration(str(path), None)
                return str(path) if iteration < 0 else get_checkpoint_name(str(path), iteration, release=release)
            ''',
            below="_resolve_checkpoint_iteration",
        ),
    ),
    Edit(
        name="save-without-cuda",
        symbol="save_checkpoint",
        why="Megatron Core's torch_dist writer asks CUDA for a device that a conversion does not use.",
        drop_when="megatron-core's writer runs on a host without CUDA.",
        do=AddDecorator("@checkpointing_without_cuda()"),
        imports=("from megatron.bridge.utils.cpu_fallbacks import checkpointing_without_cuda",),
    ),
    Edit(
        name="rng-state-without-cuda",
        symbol="get_rng_state",
        why="A host without CUDA has no CUDA generator, and a conversion keeps no RNG state. Since 0.7 none asks for it.",
        drop_when="the pinned upstream is 0.7.",
        versions="<0.7",
        do=ReplaceExpression("torch.cuda.get_rng_state(...)", "__old__ if torch.cuda.is_available() else None"),
    ),
    Edit(
        name="read-metadata",
        symbol="read_metadata",
        why="A torn tracker ends with an error, and not with the exit status 0. The ranks reduced the iteration alone, and "
        "could disagree whether it is a release: if one of them reads a number, it is none.",
        drop_when="upstream's read_metadata raises on a bad tracker, and returns the same on every rank.",
        do=(
            ReplaceStatement(
                "iteration, release = parse_tracker(metastring, tracker_filename)", tries="int", was="9e933e551244"
            ),
            ReplaceExpression("[iteration]", "[iteration, not release]"),
            InsertStatements("release = not iters_cuda[1].item()", after_call="torch.distributed.all_reduce"),
            # It takes no `flush`: what was to be a warning was a TypeError.
            ReplaceExpression(
                "print_rank_0(...)",
                'print_rank_0(f"WARNING: the ranks read different trackers, {iteration} on rank {rank}: {max_iter} is used")',
            ),
        ),
        imports=("from megatron.bridge.release.layout import parse_tracker",),
    ),
    Edit(
        name="resolve-iteration",
        symbol="_resolve_checkpoint_iteration",
        why="The text tracker decides: latest_train_state.pt knows no release, and is stale as soon as Megatron-LM "
        "has gone on training in the root.",
        drop_when=_TRACKER_DROP,
        do=ReplaceStatement(
            """
            text_tracker = get_checkpoint_tracker_filename(load_dir)
            if file_exists(text_tracker):
                iteration, release = read_metadata(text_tracker)
            elif file_exists(tracker_filename):
                # As Bridge left a root before 0.2. It is cached by its name, and each save replaces its content.
                read_train_state.cache_clear()
                iteration = read_train_state(tracker_filename).step
            """,
            tests="file_exists(tracker_filename)",
            was="c7063476b4c9",
        ),
    ),
    Edit(
        name="non-persistent-tracker",
        symbol="_get_non_persistent_iteration",
        why="The tracker is cached by its name, and each save replaces its content.",
        drop_when="upstream's read_train_state does not cache trackers.",
        do=InsertStatements("read_train_state.cache_clear()", before_call="read_train_state"),
    ),
    Edit(
        name="find-folder-for-all-ranks",
        symbol="find_checkpoint_folder",
        why="Ranks that load one checkpoint go by what rank 0 sees, and a tracker that names a missing folder is an error.",
        drop_when=_TRACKER_DROP,
        do=(
            ReplaceBody("return on_rank_0(lambda: resolve_checkpoint_folder(path))", was="9aec56e66afc"),
            ReplaceDocstring(
                """
                Find the checkpoint folder that a checkpoint root stands for, on rank 0 for every rank.

                Args:
                    path: Checkpoint root, or a checkpoint folder itself.

                Returns:
                    The checkpoint folder; ``path`` where it is one, or holds none.

                Raises:
                    ValueError: If the tracker is torn, empty, or holds anything else.
                    FileNotFoundError: If the tracker names a folder that is not there.
                """,
                was="458d73ca8c92",
            ),
        ),
        imports=(
            "from megatron.bridge.training.utils.collectives import on_rank_0",
            "from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder",
        ),
    ),
    Edit(
        name="missing-folder",
        symbol="_get_checkpoint_format",
        why="A tracker that names a missing folder is an error that says which folders are there.",
        drop_when="upstream checks that the folder its tracker names exists.",
        do=InsertStatements(
            """
            if not file_exists(checkpoint_path):
                raise FileNotFoundError(missing_folder(checkpoint_path))
            """,
            before_call="NotImplementedError",
        ),
        imports=("from megatron.bridge.training.utils.checkpoint_resolver import missing_folder",),
    ),
    Edit(
        name="load-fsdp-dtensor",
        symbol="_load_checkpoint_from_path",
        why="The fsdp_dtensor branch finds its folder by the same rule as the torch_dist branch, and, as there, a release "
        "has neither optimizer nor RNG state to ask for.",
        drop_when="the pinned upstream is 0.7, whose branch finds its folder so.",
        versions="<0.7",
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
                    else get_checkpoint_name(load_dir, iteration, release)
                )
                """,
                tests="is_checkpoint_iteration_directory(load_dir)",
                was="e6f063d8bed5",
            ),
            ReplaceExpression(
                "not cfg.checkpoint.finetune", "not release and __old__", guarding="get_rerun_state_machine"
            ),
        ),
    ),
    Edit(
        name="load-fsdp-dtensor",
        symbol="_load_checkpoint_from_path",
        why="As in the torch_dist branch, a release has neither optimizer nor RNG state to ask for.",
        drop_when="upstream's fsdp_dtensor branch asks whether it is a release.",
        versions=">=0.7",
        do=ReplaceExpression(
            "not cfg.checkpoint.finetune", "not release and __old__", guarding="get_rerun_state_machine"
        ),
    ),
)
