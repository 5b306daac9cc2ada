# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/training_checkpointing.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "training_checkpointing"
    SNIPPETS = {
        "save-release": Snippet(
            '''
-def save_checkpoint(state):
+from argparse import Namespace
+
+from megatron.bridge.release.validation.finite import check_state_dict_finite
+from megatron.bridge.release.write.local_model_keys import add_local_model_keys
+
+
+def save_checkpoint(state, release_args: Namespace | None = None):
     """Save it.

     Args:
         state: It.
+        release_args: Megatron-LM's args. If given, writes the weights of a release into the folder ``release``, with
+            these args, and neither the files beside them nor trackers. Default is None.
     """
-    get_checkpoint_name(1)
+    get_checkpoint_name(1, release=release_args is not None)
+    if release_args is not None:
+        state_dict["args"] = release_args
+        add_local_model_keys(state_dict)
+        if checkpointing_context is None:
+            # The strategy of a release checks the values when it writes them.
+            check_state_dict_finite(state_dict)
     x = _get_model_glu_interleave_sizes(1)
-    if get_rank_safe() == 0:
+    if release_args is None and get_rank_safe() == 0:
         get_checkpoint_train_state_filename(1)
''',
            ("get_checkpoint_name", "get_name"),
            "    get_checkpoint_name(1)\n",
        ),
        "weights-of-either-layer-spec": Snippet(
            """
+from megatron.bridge.release.write.local_model_keys import fit_to_checkpoint
+
+
 def _load_model_weights_from_checkpoint(checkpoint_path):
     sharded_state_dict = {}
+    fit_to_checkpoint(sharded_state_dict, checkpoint_path)
     load_strategy = TorchDistLoadShardedStrategy()
""",
            ("TorchDistLoadShardedStrategy", "Strategy"),
            "    load_strategy = TorchDistLoadShardedStrategy()\n",
        ),
        "read-metadata-of-imports": Snippet(
            """
 def read_metadata(tracker_filename):
-    assert iteration > 0 or release, tracker_filename
-    return tensor(1, device="cuda")
+    assert iteration >= 0, tracker_filename
+    return tensor(1, device="cuda" if torch.cuda.is_available() else "cpu")
""",
            ("iteration > 0", "iteration > 1"),
            '    return tensor(1, device="cuda")\n',
        ),
        "release-at-step-0": Snippet(
            """
 def _resolve_checkpoint_iteration(load_dir):
-    iteration = state.number
+    iteration = train_state.step
+    text_tracker = get_checkpoint_tracker_filename(load_dir)
+    if iteration == 0 and file_exists(text_tracker):
+        iteration, release = read_metadata(text_tracker)
     return iteration, release
""",
            ("iteration = state", "step = state"),
            "    iteration = state.number\n",
        ),
        "find-folder": Snippet(
            '''
 def _resolve_checkpoint_iteration():
     return 1


+def find_checkpoint_folder(path: str | os.PathLike[str]) -> str:
+    """Find the checkpoint folder that a checkpoint root's tracker names.
+
+    Args:
+        path: Checkpoint root, or a checkpoint folder itself.
+
+    Returns:
+        The checkpoint folder; ``path`` where it is one, or has no tracker.
+    """
+    iteration, release = _resolve_checkpoint_iteration(str(path), None)
+    return str(path) if iteration < 0 else get_checkpoint_name(str(path), iteration, release=release)
+
+
 def other(): ...
''',
            ("_resolve_checkpoint_iteration", "_resolve"),
            "def _resolve_checkpoint_iteration():\n    return 1\n",
        ),
        "save-without-cuda": Snippet(
            """
+from megatron.bridge.utils.cpu_fallbacks import checkpointing_without_cuda
+
+
+@checkpointing_without_cuda()
 @a
 def save_checkpoint(): ...
""",
            ("save_checkpoint", "save"),
        ),
        "rng-state-without-cuda": Snippet(
            """
 def get_rng_state():
-    x = {1: torch.cuda.get_rng_state()}
+    x = {1: torch.cuda.get_rng_state() if torch.cuda.is_available() else None}
""",
            (".cuda", ""),
            "    x = {1: torch.cuda.get_rng_state()}\n",
        ),
        "read-metadata": Snippet(
            """
+from megatron.bridge.release.layout import parse_tracker
+
+
 def read_metadata(tracker_filename):
     with open(tracker_filename) as f:
         metastring = f.read()
-        try:
-            iteration = int(metastring)
-        except ValueError:
-            sys.exit()
+        iteration, release = parse_tracker(metastring, tracker_filename)
-    iters_cuda = torch.tensor([iteration])
+    iters_cuda = torch.tensor([iteration, not release])
     torch.distributed.all_reduce(iters_cuda)
+    release = not iters_cuda[1].item()
-    print_rank_0("A warning", flush=True)
+    print_rank_0(f"WARNING: the ranks read different trackers, {iteration} on rank {rank}: {max_iter} is used")
     return iteration
""",
            ("int(metastring)", "number(metastring)"),
            "        try:\n            iteration = int(metastring)\n        except ValueError:\n            sys.exit()\n",
        ),
        "resolve-iteration": Snippet(
            """
 def _resolve_checkpoint_iteration(load_dir):
-    if file_exists(tracker_filename):
-        iteration = 1
-    else:
-        iteration = 2
+    text_tracker = get_checkpoint_tracker_filename(load_dir)
+    if file_exists(text_tracker):
+        iteration, release = read_metadata(text_tracker)
+    elif file_exists(tracker_filename):
+        # As Bridge left a root before 0.2. It is cached by its name, and each save replaces its content.
+        read_train_state.cache_clear()
+        iteration = read_train_state(tracker_filename).step
     return iteration
""",
            ("file_exists", "exists"),
            "    if file_exists(tracker_filename):\n        iteration = 1\n    else:\n        iteration = 2\n",
        ),
        "non-persistent-tracker": Snippet(
            """
 def _get_non_persistent_iteration():
+    read_train_state.cache_clear()
     return read_train_state(1)
""",
            ("read_train_state", "read_state"),
            "    return read_train_state(1)\n",
        ),
        "find-folder-for-all-ranks": Snippet(
            '''
+from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder
+from megatron.bridge.training.utils.collectives import on_rank_0
+
+
 def find_checkpoint_folder(path):
-    """Find it."""
-    return 1
+    """Find the checkpoint folder that a checkpoint root stands for, on rank 0 for every rank.
+
+    Args:
+        path: Checkpoint root, or a checkpoint folder itself.
+
+    Returns:
+        The checkpoint folder; ``path`` where it is one, or holds none.
+
+    Raises:
+        ValueError: If the tracker is torn, empty, or holds anything else.
+        FileNotFoundError: If the tracker names a folder that is not there.
+    """
+    return on_rank_0(lambda: resolve_checkpoint_folder(path))
''',
            ("find_checkpoint_folder", "find_folder"),
        ),
        "missing-folder": Snippet(
            """
+from megatron.bridge.training.utils.checkpoint_resolver import missing_folder
+
+
 def _get_checkpoint_format(checkpoint_path):
+    if not file_exists(checkpoint_path):
+        raise FileNotFoundError(missing_folder(checkpoint_path))
     raise NotImplementedError(1)
""",
            ("NotImplementedError", "ValueError"),
            "    raise NotImplementedError(1)\n",
        ),
        "load-fsdp-dtensor >=0.7": Snippet(
            """
 def _load_checkpoint_from_path(load_dir):
-    if not cfg.checkpoint.finetune:
+    if not release and not cfg.checkpoint.finetune:
         x = get_rerun_state_machine()
     if tp_pp_match and not release and not cfg.checkpoint.finetune:
         y = get_rerun_state_machine()
""",
            ("        x = get_rerun_state_machine()", "        x = get_machine()"),
            "    if not cfg.checkpoint.finetune:\n        x = get_rerun_state_machine()\n",
        ),
        "load-fsdp-dtensor <0.7": Snippet(
            """
 def _load_checkpoint_from_path(load_dir):
     # By its format.
-    if is_checkpoint_iteration_directory(load_dir):
-        checkpoint_name = 1
-    else:
-        checkpoint_name = 2
-    if not cfg.checkpoint.finetune:
+    iteration, release = _resolve_checkpoint_iteration(load_dir, None)
+    if iteration == -1:
+        print_rank_0(f"WARNING: no tracker in {load_dir}, nothing is loaded")
+        return 0, 0
+    checkpoint_name = (
+        load_dir if iteration == _DIRECT_ITERATION_DIR_SENTINEL else get_checkpoint_name(load_dir, iteration, release)
+    )
+    if not release and not cfg.checkpoint.finetune:
         x = get_rerun_state_machine()
     if not cfg.checkpoint.finetune:
         y = 2
     if strict and not cfg.checkpoint.finetune:
         z = get_rerun_state_machine()
""",
            ("        x = get_rerun_state_machine()", "        x = get_machine()"),
            "    if not cfg.checkpoint.finetune:\n        x = get_rerun_state_machine()\n",
        ),
    }
