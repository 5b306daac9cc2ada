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
+def save_checkpoint(state, release: bool = False):
     """Save it.

     Args:
         state: It.
+        release: If True, writes the checkpoint folder ``release`` and the tracker ``release``, from which
+            Megatron-LM starts fine-tuning. Default is False.
     """
-    get_checkpoint_name(1)
+    get_checkpoint_name(1, release=release)
''',
            ("get_checkpoint_name", "get_name"),
            "    get_checkpoint_name(1)\n",
        ),
        "save-tracker": Snippet(
            """
+from megatron.bridge.training.release.saving import open_tracker_object
+
+
 def save_checkpoint(f):
-    with msc.open(1) as f:
-        f.write(1)
+    with open_tracker_object(tracker_filename, release) as f:
+        f.write("release" if release else str(step))
     with open(1) as f:
-        f.write(2)
+        f.write("release" if release else str(step))
""",
            ("f.write(2)", "g.write(2)"),
            "        f.write(1)\n",
        ),
        "save-state-dict": Snippet(
            """
+from megatron.bridge.training.release.contents import prepare_release_state_dict
+
+
 def save_checkpoint():
+    if release:
+        prepare_release_state_dict(state_dict, cfg)
     x = _get_model_glu_interleave_sizes(1)
""",
            ("_get_model_glu_interleave_sizes", "_sizes"),
            "    x = _get_model_glu_interleave_sizes(1)\n",
        ),
        "save-run-config": Snippet(
            """
+from megatron.bridge.training.release.contents import write_run_config
+
+
 def save_checkpoint():
-    cfg.to_yaml(1)
+    write_run_config(cfg, config_filename) if release else cfg.to_yaml(1)
""",
            ("to_yaml", "to_json"),
            "    cfg.to_yaml(1)\n",
        ),
        "save-train-state": Snippet(
            """
+from megatron.bridge.training.release.contents import save_object
+
+
 def save_checkpoint():
     msc.torch.save(1)
-    torch.save(1)
+    (save_object if release else torch.save)(train_state_dict, train_state_local_filename)
""",
            ("    torch.save(1)", "    torch.write(1)"),
            "    torch.save(1)\n",
        ),
        "save-without-cuda": Snippet(
            """
+from megatron.bridge.utils.without_cuda import checkpointing_without_cuda
+
+
+@checkpointing_without_cuda()
 @a
 def save_checkpoint(): ...
""",
            ("save_checkpoint", "save"),
        ),
        "tokenizer-required": Snippet(
            '''
-def save_tokenizer_assets(tokenizer):
+from megatron.bridge.training.release.tokenizer import TokenizerNotSaved
+
+
+def save_tokenizer_assets(tokenizer, required: bool = False):
     """Save it.

     Args:
         tokenizer: It.
+        required: If True, raises what stops it. Default is False: it is logged.
     """
     try:
         save()
     except OSError as e:
+        if required:
+            raise TokenizerNotSaved(f"The tokenizer could not be saved, so nothing is published: {e}") from e
         # Who says so.
         if get_rank_safe() == 0:
             log(e)
''',
            ("get_rank_safe", "get_rank"),
            "        if get_rank_safe() == 0:\n            log(e)\n",
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
            '''
+from megatron.bridge.training.utils.all_ranks import on_rank_0
+from megatron.bridge.training.utils.checkpoint_root import read_tracker_file
+
+
 def read_metadata(tracker_filename):
-    """Read it."""
-    return 1
+    """Read a text tracker, ``latest_checkpointed_iteration.txt``, on rank 0 for every rank.
+
+    Args:
+        tracker_filename: Path to the tracker file.
+
+    Returns:
+        The iteration, 0 for a release checkpoint, and whether it is one.
+
+    Raises:
+        ValueError: If the tracker is torn, empty, or holds anything else.
+    """
+    return on_rank_0(lambda: read_tracker_file(tracker_filename))
''',
            ("read_metadata", "read"),
        ),
        "resolve-iteration": Snippet(
            '''
+from megatron.bridge.training.utils.all_ranks import on_rank_0
+from megatron.bridge.training.utils.checkpoint_root import checkpoint_folder, read_tracker
+
+
 def _resolve_checkpoint_iteration(load_dir):
-    """Find it.
+    """Find the checkpoint to load. Collective, unless ``load_dir`` is a checkpoint folder.

-    Somehow.
+    Args:
+        load_dir: Checkpoint root, or a checkpoint folder itself.
+        ckpt_step_override: The iteration that the user asks for (``ckpt_step``), whose folder must be there.
+
+    Returns:
+        The iteration, and whether it is a release checkpoint. ``_DIRECT_ITERATION_DIR_SENTINEL`` stands for
+        ``load_dir`` itself, -1 for none. Else it is what the text tracker names, or
+        ``latest_train_state.pt`` where there is no text tracker.
+
+    Raises:
+        FileNotFoundError: If there is no folder of ``ckpt_step_override``.
+        ValueError: If the tracker is torn, empty, or holds anything else.
     """
-    return 1
+    if load_dir is None:
+        return -1, False
+    if is_checkpoint_iteration_directory(load_dir):
+        print_rank_0(f"Loading the checkpoint folder {load_dir} itself")
+        return _DIRECT_ITERATION_DIR_SENTINEL, False
+    if ckpt_step_override is not None:
+        checkpoint_folder(load_dir, ckpt_step_override, release=False, named_by="ckpt_step")
+        return ckpt_step_override, False
+    return on_rank_0(lambda: read_tracker(load_dir)) or (-1, False)
''',
            ("_resolve_checkpoint_iteration", "_resolve"),
        ),
        "load-base-folder": Snippet(
            """
+from megatron.bridge.training.utils.checkpoint_root import checkpoint_folder
+
+
 def _load_base_checkpoint():
-    checkpoint_path = get_checkpoint_name(1)
+    checkpoint_path = checkpoint_folder(load_dir, iteration, release)
     other = 2
""",
            ("checkpoint_path", "path"),
            "    checkpoint_path = get_checkpoint_name(1)\n",
        ),
        "load-fsdp-dtensor": Snippet(
            """
+from megatron.bridge.training.utils.checkpoint_root import checkpoint_folder
+
+
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
+        load_dir if iteration == _DIRECT_ITERATION_DIR_SENTINEL else checkpoint_folder(load_dir, iteration, release)
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
