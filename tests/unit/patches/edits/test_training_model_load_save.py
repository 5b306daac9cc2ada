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
+from megatron.bridge.release.validation.errors import OverwriteWithoutReleaseError
+
+
+def save_megatron_model(model, release: bool = False, overwrite: bool = False):
     """Save it.

     Args:
         model: It.
+        release: If True, writes a release checkpoint, which Megatron-LM fine-tunes from: the folder
+            ``release`` and the tracker ``release``. Default is False, which writes ``iter_0000000``
+            and the tracker ``0``.
+        overwrite: If True, ``release=True`` replaces the release in ``path`` when the new one is complete.
+            Default is False: a directory that contains a checkpoint is refused.
     """
+    # Imported here to avoid a circular import.
+    from megatron.bridge.release.write.save import save_release
+    from megatron.bridge.release.write.writer import require_weights
+
+    if release:
+        save_release(
+            model,
+            path,
+            overwrite=overwrite,
+            ckpt_format=ckpt_format,
+            tokenizer_path=hf_tokenizer_path,
+            tokenizer_kwargs=hf_tokenizer_kwargs,
+        )
+        return
+    if overwrite:
+        raise OverwriteWithoutReleaseError
+    require_weights(model)
     save_checkpoint(1)
''',
            ("Args:", "Takes:"),
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
        "resolve-tokenizer": Snippet(
            """
+from megatron.bridge.training.utils.checkpoint_resolver import resolve_run_config_folder
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
+from megatron.bridge.training.utils.checkpoint_resolver import resolve_run_config_folder
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
    }
