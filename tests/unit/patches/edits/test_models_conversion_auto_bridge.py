# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_conversion_auto_bridge.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_conversion_auto_bridge"
    SNIPPETS = {
        "import-low-memory": Snippet(
            '''
 class AutoBridge:
-    def import_ckpt(cls, model, **kwargs):
+    def import_ckpt(cls, model, *, low_memory_save: bool = False, **kwargs):
         """Convert it.

         Args:
             model: It.
+            low_memory_save: If True, frees the model while it is saved, which needs less memory and
+                more time. Default is False.
             **kwargs: More.

         Example:
             >>> AutoBridge.import_ckpt(1)
         """
-        bridge.save_megatron_model(1, low_memory_save=True)
+        bridge.save_megatron_model(1, low_memory_save=low_memory_save)
''',
            ("bridge.save", "cls.save"),
            "        bridge.save_megatron_model(1, low_memory_save=True)\n",
        ),
        "import-release": Snippet(
            '''
 class AutoBridge:
-    def import_ckpt(cls, model, **kwargs):
+    def import_ckpt(cls, model, *, release: bool = False, **kwargs):
         """Convert it.

         Args:
             model: It.
+            release: If True, writes a release checkpoint, which Megatron-LM loads as it is: the folder
+                ``release`` and the tracker ``release``, published when every file is complete.
+                Default is False, which writes ``iter_0000000`` and the tracker ``0``.
             **kwargs: More.

         Example:
             >>> AutoBridge.import_ckpt(1)
+
+            >>> # Import as the release checkpoint that Megatron-LM fine-tunes from
+            >>> AutoBridge.import_ckpt(
+            ...     "meta-llama/Meta-Llama-3-8B",
+            ...     "./megatron_checkpoints/llama3_8b",
+            ...     release=True
+            ... )
         """
-        bridge.save_megatron_model(1, **kwargs)
+        bridge.save_megatron_model(1, release=release, **kwargs)
''',
            ("Args:", "Takes:"),
            "        bridge.save_megatron_model(1, **kwargs)\n",
        ),
        "import-overwrite": Snippet(
            '''
 class AutoBridge:
-    def import_ckpt(cls, model, **kwargs):
+    def import_ckpt(cls, model, *, overwrite: bool = False, **kwargs):
         """Convert it.

         Args:
             model: It.
+            overwrite: If True, ``release=True`` replaces the release that ``megatron_path`` holds, when the
+                new one is complete. Default is False: a folder that holds a checkpoint is refused.
             **kwargs: More.

         Example:
             >>> AutoBridge.import_ckpt(1)
         """
-        bridge.save_megatron_model(1, **kwargs)
+        bridge.save_megatron_model(1, overwrite=overwrite, **kwargs)
''',
            ("Args:", "Takes:"),
            "        bridge.save_megatron_model(1, **kwargs)\n",
        ),
        "import-allow-tensors": Snippet(
            '''
+from collections.abc import Sequence
+
+
 class AutoBridge:
-    def import_ckpt(cls, model, **kwargs):
+    def import_ckpt(cls, model, *, allow_unused_tensors: Sequence[str] = (), **kwargs):
         """Convert it.

         Args:
             model: It.
+            allow_unused_tensors: With ``release=True``, patterns, as of `fnmatch`, of the model's tensors that may be left
+                out. Default is none: a tensor that is not converted is an error.
             **kwargs: More.

         Example:
             >>> AutoBridge.import_ckpt(1)
         """
-        bridge.save_megatron_model(1, **kwargs)
+        bridge.save_megatron_model(1, allow_unused_tensors=allow_unused_tensors, **kwargs)
''',
            ("save_megatron_model", "save"),
            "        bridge.save_megatron_model(1, **kwargs)\n",
        ),
        "import-allow-fields": Snippet(
            '''
+from collections.abc import Sequence
+
+
 class AutoBridge:
-    def import_ckpt(cls, model, **kwargs):
+    def import_ckpt(cls, model, *, allow_config_fields: Sequence[str] = (), **kwargs):
         """Convert it.

         Args:
             model: It.
+            allow_config_fields: With ``release=True``, names of fields of the model's config whose values may be lost:
+                Megatron-LM computes another function then. Default is none: a value that is not carried is an error.
             **kwargs: More.

         Example:
             >>> AutoBridge.import_ckpt(1)
         """
-        bridge.save_megatron_model(1, **kwargs)
+        bridge.save_megatron_model(1, allow_config_fields=allow_config_fields, **kwargs)
''',
            ("save_megatron_model", "save"),
            "        bridge.save_megatron_model(1, **kwargs)\n",
        ),
        "import-checks": Snippet(
            '''
+from megatron.bridge.training.release.destination import destination
+from megatron.bridge.training.release.preflight import check_import
+
+
 class AutoBridge:
     def import_ckpt(cls):
-        """Convert it."""
+        """Convert it.
+
+        Raises:
+            ValueError: With ``release=True``, if the model or its architecture cannot be imported, or
+                ``megatron_path`` cannot hold the checkpoint. Raised before anything is written.
+        """
+        megatron_path = destination(megatron_path, release, overwrite)
+        if release:
+            hf_model_id = check_import(hf_model_id, megatron_path, overwrite, kwargs)
         return cls
''',
            ('"""Convert it."""\n        ', ""),
        ),
        "import-process-group": Snippet(
            """
+from megatron.bridge.utils.conversion_group import conversion_process_group
+
+
 class AutoBridge:
     @classmethod
+    @conversion_process_group()
     def import_ckpt(cls): ...
""",
            ("AutoBridge", "Bridge"),
        ),
        "import-faithful": Snippet(
            """
 class AutoBridge:
     def import_ckpt(cls):
-        model = bridge.to_megatron_model()
+        streamed: list[MegatronModelT] | None = None
+        if release:
+            # The training package imports this module's package.
+            from megatron.bridge.training.release.faithful import require_faithful
+            from megatron.bridge.training.release.streaming import streamed_model
+
+            accounted = require_faithful(bridge, allow_unused_tensors, allow_config_fields, hf_model_id)
+            streamed = streamed_model(bridge, accounted)
+        model = streamed or bridge.to_megatron_model()
""",
            ("to_megatron_model", "to_model"),
            "        model = bridge.to_megatron_model()\n",
        ),
        "save-release": Snippet(
            '''
 class AutoBridge:
     def save_megatron_model(
         self,
         path,
+        release: bool = False,
     ):
         """Save it.

         Args:
             path: Its place.
+            release: If True, writes a release checkpoint, which Megatron-LM loads as it is: the folder
+                ``release`` and the tracker ``release``, published when every file is complete.
+                Default is False, which writes ``iter_0000000`` and the tracker ``0``.
+
+        Example:
+            >>> # Save the release checkpoint that Megatron-LM fine-tunes from
+            >>> bridge.save_megatron_model(megatron_model, "./megatron_checkpoint", release=True)
         """
-        save_megatron_model(1)
+        save_megatron_model(1, release=release)
''',
            ("        save_megatron_model(1)", "        io.save_megatron_model(1)"),
            "        save_megatron_model(1)\n",
        ),
        "save-overwrite": Snippet(
            '''
 class AutoBridge:
     def save_megatron_model(
         self,
         path,
+        overwrite: bool = False,
     ):
         """Save it.

         Args:
             path: Its place.
+            overwrite: If True, ``release=True`` replaces the release that ``path`` holds, when the
+                new one is complete. Default is False: a folder that holds a checkpoint is refused.
         """
-        save_megatron_model(1)
+        save_megatron_model(1, overwrite=overwrite)
''',
            ("        save_megatron_model(1)", "        io.save_megatron_model(1)"),
            "        save_megatron_model(1)\n",
        ),
        "save-allow-tensors": Snippet(
            '''
+from collections.abc import Sequence
+
+
 class AutoBridge:
     def save_megatron_model(
         self,
         path,
+        allow_unused_tensors: Sequence[str] = (),
     ):
         """Save it.

         Args:
             path: Its place.
+            allow_unused_tensors: With ``release=True``, patterns, as of `fnmatch`, of the model's tensors that may be left
+                out. Default is none: a tensor that is not converted is an error.
         """
         save_megatron_model(1)
''',
            ("def save_megatron_model", "def save"),
        ),
        "save-allow-fields": Snippet(
            '''
+from collections.abc import Sequence
+
+
 class AutoBridge:
     def save_megatron_model(
         self,
         path,
+        allow_config_fields: Sequence[str] = (),
     ):
         """Save it.

         Args:
             path: Its place.
+            allow_config_fields: With ``release=True``, names of fields of the model's config whose values may be lost:
+                Megatron-LM computes another function then. Default is none: a value that is not carried is an error.
         """
         save_megatron_model(1)
''',
            ("def save_megatron_model", "def save"),
        ),
        "save-faithful": Snippet(
            '''
 class AutoBridge:
     def save_megatron_model(self):
         """Save it."""
-        save_megatron_model(1)
+        let_through: tuple[str, ...] = ()
+        if release:
+            # The training package imports this module's package.
+            from megatron.bridge.training.release.faithful import require_faithful
+            from megatron.bridge.training.release.own_config import require_own_config
+
+            let_through = require_faithful(
+                self, allow_unused_tensors, allow_config_fields, hf_tokenizer_path, hf_tokenizer_kwargs
+            ).let_through
+            require_own_config(self, model)
+        save_megatron_model(1, let_through=let_through)
''',
            ("save_megatron_model(1)", "save(1)"),
            "        save_megatron_model(1)\n",
        ),
        "load-root": Snippet(
            """
 class AutoBridge:
     def load_megatron_model(self, path):
         # Where it is.
-        checkpoint_path = Path(path, 1)
-
-        # All folders.
-        iter_folders = [1]
-        if iter_folders:
-            self.last()
-        # else: none of them
-
+        checkpoint_path = path
         return checkpoint_path
""",
            ("load_megatron_model", "load"),
            "        iter_folders = [1]\n",
        ),
        "auto-config-root": Snippet(
            """
 class AutoBridge:
     def from_auto_config(cls, checkpoint_path):
         if checkpoint_path.exists() is False:
             return None
+        from megatron.bridge.training.utils.checkpoint_root import resolve_run_config_folder
+
+        checkpoint_path = Path(resolve_run_config_folder(checkpoint_path))
         return checkpoint_path
""",
            ("exists", "is_dir"),
            "        if checkpoint_path.exists() is False:\n            return None\n",
        ),
        "adapter-root": Snippet(
            """
 class AutoBridge:
     def export_adapter_ckpt(self, ckpt_path):
         assert ckpt_path.exists()
+        from megatron.bridge.training.utils.checkpoint_root import resolve_checkpoint_folder
+
+        ckpt_path = Path(resolve_checkpoint_folder(ckpt_path))
""",
            ("ckpt_path.exists", "exists"),
            "        assert ckpt_path.exists()\n",
        ),
    }
