# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/training_model_load_save.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "training_model_load_save"
    SNIPPETS = {
        "save-release": Snippet(
            '''
-def save_megatron_model(model):
+def save_megatron_model(model, release: bool = False):
     """Save it.

     Args:
         model: It.
+        release: If True, writes a release checkpoint, which Megatron-LM fine-tunes from: the folder
+            ``release`` and the tracker ``release``. Default is False, which writes ``iter_0000000``
+            and the tracker ``0``.
     """
-    save_checkpoint(1, prebuilt_state_dict=2)
-    save_checkpoint(3)
-    get_checkpoint_name(1)
+    save_checkpoint(1, prebuilt_state_dict=2, release=release)
+    save_checkpoint(3, release=release)
+    get_checkpoint_name(1, release=release)
''',
            ("(3)", "_of(3)"),
            "    save_checkpoint(3)\n",
        ),
        "save-common-state": Snippet(
            """
+from megatron.bridge.release.write.common_state import write_common_state
+
+
 def save_megatron_model():
     save()
+    if release:
+        write_common_state(path)
""",
            ("save_megatron_model", "save"),
        ),
        "save-description": Snippet(
            """
+from megatron.bridge.release.write.description import describe_release, warn_of_what_no_flag_gives
+
+
 def save_megatron_model():
+    if release:
+        warn_of_what_no_flag_gives(model_config)
     state = GlobalState()
+    if release:
+        describe_release(path)
""",
            ("GlobalState", "State"),
            "    state = GlobalState()\n",
        ),
        "save-publishes": Snippet(
            '''
+from megatron.bridge.release.write.save import publishes_release
+from megatron.bridge.release.write.save_context import note
+
+
-def save_megatron_model(model):
+@publishes_release
+def save_megatron_model(model, overwrite: bool = False):
     """Save it.

     Args:
         model: It.
+        overwrite: If True, ``release=True`` replaces the release that ``path`` holds, when the
+            new one is complete. Default is False: a folder that holds a checkpoint is refused.
     """
-    warn_of_what_no_flag_gives(1)
+    note(warn_of_what_no_flag_gives(1))
''',
            ("warn_of_what_no_flag_gives", "warn"),
            "    warn_of_what_no_flag_gives(1)\n",
        ),
        "save-tokenizer-files": Snippet(
            """
+from megatron.bridge.release.write.tokenizer import save_tokenizer
+
+
 def save_megatron_model():
-    save_tokenizer_assets(1)
+    save_tokenizer(lambda: save_tokenizer_assets(1), checkpoint_name, tokenizer_config if release else None)
""",
            ("save_tokenizer_assets", "save_assets"),
            "    save_tokenizer_assets(1)\n",
        ),
        "save-let-through": Snippet(
            '''
-def save_megatron_model(model):
+from collections.abc import Sequence
+
+
+def save_megatron_model(model, waived: Sequence[str] = ()):
     """Save it.

     Args:
         model: It.
+        waived: With ``release=True``, differences from the source model that the user allowed, a sentence
+            each, which the release records.
     """
-    describe_release(1)
+    describe_release(1, waived=waived)
+    note(*waived)
     state = GlobalState()
''',
            ("describe_release", "describe"),
            "    describe_release(1)\n",
        ),
        "save-source-model": Snippet(
            '''
-def save_megatron_model(model):
+from megatron.bridge.release.source.provenance import SourceModel
+
+
+def save_megatron_model(model, source_model: SourceModel | None = None):
     """Save it.

     Args:
         model: It.
+        source_model: With ``release=True``, the Hugging Face model whose weights the model has, unchanged.
+            Default is None: they may have been trained.
     """
-    describe_release(1)
+    describe_release(1, source_model=source_model)
''',
            ("describe_release", "describe"),
            "    describe_release(1)\n",
        ),
        "cpu-load": Snippet(
            """
 def load_megatron_model():
+    use_cpu_init = use_cpu_init or not torch.cuda.is_available()
     x = load_model_config(1)
""",
            ("load_model_config", "load_config"),
            "    x = load_model_config(1)\n",
        ),
        "load-run-config": Snippet(
            '''
-def load_megatron_model(path):
+def load_megatron_model(path, run_config_path: Optional[Union[str, Path]] = None):
     """Load it.

     Args:
         path: Its place.
+        run_config_path: Checkpoint folder whose run config describes the model, whatever arguments it was trained
+            with. Default is None: the checkpoint's, or that of the release next to it, which must describe
+            the model that was trained.
+
+    Raises:
+        ValueError: If Megatron-LM trained the checkpoint with other arguments than the run config's.
     """
-    x = load_model_config(checkpoint_path)
+    x = load_model_config(str(run_config_path or checkpoint_path))
+    if run_config_path is None:
+        # It imports this module.
+        from megatron.bridge.release.export.trained_model import check_run_config
+
+        check_run_config(model_cfg, checkpoint_path)
''',
            ("load_model_config", "load_config"),
            "    x = load_model_config(checkpoint_path)\n",
        ),
        "cpu-build": Snippet(
            """
 def build_and_load_model():
+    use_cpu_init = use_cpu_init or not torch.cuda.is_available()
     x = has_modelopt_state(1)
""",
            ("build_and_load_model", "build"),
            "    x = has_modelopt_state(1)\n",
        ),
        "own-values": Snippet(
            """
+from megatron.bridge.utils.host_compat import restore_model_values
+
+
 def save_megatron_model():
-    note(warn_of_what_no_flag_gives(model_config))
+    note(warn_of_what_no_flag_gives(restore_model_values(model_config)))
""",
            ("model_config", "config"),
            "    note(warn_of_what_no_flag_gives(model_config))\n",
        ),
        "resolve-tokenizer": Snippet(
            """
+from megatron.bridge.training.utils.checkpoint_root import resolve_run_config_folder
+
+
 def load_tokenizer():
+    checkpoint_path = resolve_run_config_folder(checkpoint_path)
     x = get_checkpoint_run_config_filename(1)
-    run_config = read_run_config(x)
+    run_config = read_run_config(x, broadcast=False)
""",
            ("get_checkpoint_run_config_filename", "get_name"),
            "    x = get_checkpoint_run_config_filename(1)\n",
        ),
        "resolve-model-config": Snippet(
            """
+from megatron.bridge.training.utils.checkpoint_root import resolve_run_config_folder
+
+
 def load_model_config():
+    checkpoint_path = resolve_run_config_folder(checkpoint_path)
     x = get_checkpoint_run_config_filename(1)
-    run_config = read_run_config(x)
+    run_config = read_run_config(x, broadcast=False)
""",
            ("read_run_config", "read"),
            "    x = get_checkpoint_run_config_filename(1)\n",
        ),
        "resolve-model": Snippet(
            """
+from megatron.bridge.training.checkpointing import find_checkpoint_folder
+
+
 def load_megatron_model():
+    checkpoint_path = find_checkpoint_folder(checkpoint_path)
     x = load_model_config(1)
""",
            ("load_model_config", "load_config"),
            "    x = load_model_config(1)\n",
        ),
        "resolve-build": Snippet(
            """
+from megatron.bridge.training.checkpointing import find_checkpoint_folder
+
+
 def build_and_load_model():
+    checkpoint_path = find_checkpoint_folder(checkpoint_path)
     if has_modelopt_state(1):
         return 2
""",
            ("has_modelopt_state", "has_state"),
            "    if has_modelopt_state(1):\n        return 2\n",
        ),
        "save-writer": Snippet(
            """
+from megatron.bridge.release.write.writer import release_context
+
+
 def save_megatron_model():
+    checkpointing_context = release_context(model, release)
+    low_memory_save = low_memory_save and checkpointing_context is None
     state = GlobalState()
-    save_checkpoint(1, prebuilt_state_dict=2)
-    save_checkpoint(3)
+    save_checkpoint(1, prebuilt_state_dict=2, checkpointing_context=checkpointing_context)
+    save_checkpoint(3, checkpointing_context=checkpointing_context)
""",
            ("(3)", "_of(3)"),
            "    save_checkpoint(3)\n",
        ),
    }
