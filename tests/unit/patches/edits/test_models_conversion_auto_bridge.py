# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_conversion_auto_bridge.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_conversion_auto_bridge"
    SNIPPETS = {
        "import-release": Snippet(
            '''
 class AutoBridge:
-    def import_ckpt(cls, model, **kwargs):
+    def import_ckpt(cls, model, *, release: bool = False, **kwargs):
         """Convert it.

         Args:
             model: It.
+            release: If True, writes a release checkpoint, which Megatron-LM fine-tunes from: the folder
+                ``release`` and the tracker ``release``. Default is False, which writes ``iter_0000000``
+                and the tracker ``0``.
             **kwargs: More.
         """
-        bridge.save_megatron_model(1, **kwargs)
+        bridge.save_megatron_model(1, release=release, **kwargs)
''',
            ("Args:", "Takes:"),
            "        bridge.save_megatron_model(1, **kwargs)\n",
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
+            release: If True, writes a release checkpoint, which Megatron-LM fine-tunes from: the folder
+                ``release`` and the tracker ``release``. Default is False, which writes ``iter_0000000``
+                and the tracker ``0``.
         """
-        save_megatron_model(1)
+        save_megatron_model(1, release=release)
''',
            ("        save_megatron_model(1)", "        io.save_megatron_model(1)"),
            "        save_megatron_model(1)\n",
        ),
        "load-root": Snippet(
            """
 class AutoBridge:
     def load_megatron_model(self, path):
-        checkpoint_path = Path(path)
-        if iter_folders:
+        from megatron.bridge.training.checkpointing import find_checkpoint_folder
+        from megatron.bridge.training.utils.checkpoint_utils import is_checkpoint_iteration_directory
+
+        checkpoint_path = Path(find_checkpoint_folder(path))
+        if not is_checkpoint_iteration_directory(str(checkpoint_path)) and iter_folders:
             checkpoint_path = max(iter_folders)
         return checkpoint_path
""",
            ("Path(path)", "Path(root)"),
            "        checkpoint_path = Path(path)\n",
        ),
        "auto-config-root": Snippet(
            """
 class AutoBridge:
     def from_auto_config(cls, checkpoint_path):
         if checkpoint_path.exists() is False:
             return None
+        from megatron.bridge.training.checkpointing import find_checkpoint_folder
+
+        checkpoint_path = Path(find_checkpoint_folder(checkpoint_path))
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
        "import-overwrite": Snippet(
            '''
+from megatron.bridge.release.validation.output_dir import destination
+from megatron.bridge.training.utils.all_ranks import on_rank_0
+
+
 class AutoBridge:
-    def import_ckpt(cls, model, **kwargs):
+    def import_ckpt(cls, model, *, overwrite: bool = False, **kwargs):
         """Convert it.

         Args:
             model: It.
+            overwrite: If True, ``release=True`` replaces the release in ``megatron_path`` when the new one is complete.
+                Default is False: a directory that contains a checkpoint is refused.
             **kwargs: More.
+
+        Raises:
+            ValueError: With ``release=True``, if ``megatron_path`` cannot hold the checkpoint, or the model or
+                its architecture cannot be imported. Raised before anything is written.
         """
-        bridge.save_megatron_model(1, **kwargs)
+        megatron_path = destination(megatron_path, release, overwrite)
+        if release:
+            # The training package imports this module's package.
+            from megatron.bridge.release.write.publish import check_destination
+
+            on_rank_0(lambda: check_destination(megatron_path, overwrite))
+        bridge.save_megatron_model(1, overwrite=overwrite, **kwargs)
''',
            ("Args:", "Takes:"),
            "        bridge.save_megatron_model(1, **kwargs)\n",
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
+            overwrite: If True, ``release=True`` replaces the release in ``path`` when the new one is complete.
+                Default is False: a directory that contains a checkpoint is refused.
         """
-        save_megatron_model(1)
+        save_megatron_model(1, overwrite=overwrite)
''',
            ("        save_megatron_model(1)", "        io.save_megatron_model(1)"),
            "        save_megatron_model(1)\n",
        ),
        "import-checks": Snippet(
            """
+from megatron.bridge.release.source.provenance import SourceModel
+from megatron.bridge.release.validation.preflight import check_import, keywords_of_files
+
+
 class AutoBridge:
     def import_ckpt(cls):
+        source_model: SourceModel | None = None
         megatron_path = destination(1)
         if release:
             check_destination(1)
+            source_model = check_import(hf_model_id, megatron_path, kwargs)
+            hf_model_id, kwargs = source_model.folder, keywords_of_files(source_model, kwargs)
         bridge = cls.from_hf_pretrained(1)
+        if source_model is not None:
+            bridge.source_model, bridge.hf_model_revision = source_model, source_model.commit
         return bridge
""",
            ("check_destination", "check"),
            "        megatron_path = destination(1)\n",
        ),
        "source-model": Snippet(
            """
+from megatron.bridge.release.source.provenance import SourceModel
+
+
 class AutoBridge:
     def __init__(self):
         self.hf_model_id = None
+        self.source_model: SourceModel | None = None
""",
            ("def __init__", "def begin"),
        ),
        "provider-source": Snippet(
            """
 class AutoBridge:
     def to_megatron_provider(self):
-        name = getattr(self.hf_pretrained, "model_name_or_path", None)
+        name = (
+            self.source_model.name
+            if self.source_model is not None
+            else getattr(self.hf_pretrained, "model_name_or_path", None)
+        )
         return name
""",
            ("model_name_or_path", "name_or_path"),
            '        name = getattr(self.hf_pretrained, "model_name_or_path", None)\n',
        ),
        "save-source": Snippet(
            """
 class AutoBridge:
     def save_megatron_model(self):
-        save_megatron_model(1)
+        save_megatron_model(1, source_model=self.source_model)
""",
            ("save_megatron_model(1)", "save(1)"),
            "        save_megatron_model(1)\n",
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
+            allow_unused_tensors: With ``release=True``, patterns, as of `fnmatch`, of unused tensors to skip. Default is
+                none: an unused tensor is an error. So is a pattern that matches no tensor of the model.
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
+            allow_config_fields: With ``release=True``, names of config fields to ignore: Megatron-LM then computes another
+                function. Default is none: a value that a release does not support is an error.
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
        "import-faithful": Snippet(
            """
 class AutoBridge:
     def import_ckpt(cls):
+        if release:
+            # The training package imports this module's package.
+            from megatron.bridge.release.validation.fidelity import require_faithful
+
+            require_faithful(bridge, allow_unused_tensors, allow_config_fields, hf_model_id)
         model = bridge.to_megatron_model()
""",
            ("to_megatron_model", "to_model"),
            "        model = bridge.to_megatron_model()\n",
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
+            allow_unused_tensors: With ``release=True``, patterns, as of `fnmatch`, of unused tensors to skip. Default is
+                none: an unused tensor is an error. So is a pattern that matches no tensor of the model.
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
+            allow_config_fields: With ``release=True``, names of config fields to ignore: Megatron-LM then computes another
+                function. Default is none: a value that a release does not support is an error.
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
+        waived: tuple[str, ...] = ()
+        if release:
+            # The training package imports this module's package.
+            from megatron.bridge.release.validation.fidelity import require_faithful
+            from megatron.bridge.release.validation.provider import config_of, require_own_config
+
+            waived = require_faithful(
+                self, allow_unused_tensors, allow_config_fields, hf_tokenizer_path, hf_tokenizer_kwargs
+            ).waived
+            require_own_config(self, config_of(model))
+        save_megatron_model(1, waived=waived)
''',
            ("save_megatron_model(1)", "save(1)"),
            "        save_megatron_model(1)\n",
        ),
        "save-own-values": Snippet(
            """
+from megatron.bridge.utils.host_compat import restore_model_values
+
+
 class AutoBridge:
     def save_megatron_model(self, model):
-        require_own_config(self, config_of(model))
+        require_own_config(self, restore_model_values(config_of(model)))
""",
            ("config_of", "config"),
            "        require_own_config(self, config_of(model))\n",
        ),
        "import-process-group": Snippet(
            """
+from megatron.bridge.utils.single_process import conversion_process_group
+
+
 class AutoBridge:
     @classmethod
+    @conversion_process_group()
     def import_ckpt(cls): ...
""",
            ("AutoBridge", "Bridge"),
        ),
        "auto-config-run-config": Snippet(
            """
 class AutoBridge:
     def from_auto_config(cls, checkpoint_path):
-        from a import find_checkpoint_folder
+        from megatron.bridge.training.utils.checkpoint_root import resolve_run_config_folder

-        checkpoint_path = Path(find_checkpoint_folder(checkpoint_path))
+        checkpoint_path = Path(resolve_run_config_folder(checkpoint_path))
         return checkpoint_path
""",
            ("Path(find_checkpoint_folder(checkpoint_path))", "Path(checkpoint_path)"),
            "        checkpoint_path = Path(find_checkpoint_folder(checkpoint_path))\n",
        ),
        "import-streams": Snippet(
            """
 class AutoBridge:
     def import_ckpt(cls):
-        if release:
-            require_faithful(bridge)
-        model = bridge.to_megatron_model()
+        streamed: list[MegatronModelT] | None = None
+        if release:
+            # The training package imports this module's package.
+            from megatron.bridge.release.validation.fidelity import require_faithful
+            from megatron.bridge.release.write.streaming import streamed_model
+
+            accounted = require_faithful(bridge, allow_unused_tensors, allow_config_fields, hf_model_id)
+            streamed = streamed_model(bridge, accounted)
+        model = streamed or bridge.to_megatron_model()
""",
            ("to_megatron_model", "to_model"),
            "        model = bridge.to_megatron_model()\n",
        ),
        "export-trained": Snippet(
            '''
 class AutoBridge:
-    def export_ckpt(self, megatron_path, hf_path):
+    def export_ckpt(
+        self,
+        megatron_path,
+        hf_path,
+        *,
+        release_path: str | Path | None = None,
+        dtype: str | torch.dtype | None = None,
+        max_shard_size: int | str | None = None,
+        tokenizer_path: str | Path | None = None,
+        rope_scaling_factor: float | None = None,
+    ):
         """Export it.

         Args:
             hf_path: Its place.
+            release_path: Folder of the release that the training started from, if the checkpoint was saved to
+                another directory. Default is None: it is next to the checkpoint.
+            dtype: Dtype of the exported tensors. Default is None: the checkpoint's.
+            max_shard_size: Size of a weight file, in bytes or such as ``5GB``. Default is None: the files are those of
+                the source model.
+            tokenizer_path: Folder of the tokenizer of the training, if the vocabulary grew. Default is None: the
+                tokenizer is the source model's, and an embedding of more rows is an error.
+            rope_scaling_factor: The rope scaling factor that the training applied, if the checkpoint does not
+                record it. Default is None: an unknown factor is an error.
+
+        Raises:
+            ValueError: If a Hugging Face config cannot express what was trained, if ``hf_path`` is not empty, or with
+                several processes. Raised before anything is written.
         """
+        # The training package imports this module's package.
+        from megatron.bridge.release.export.output_dir import check_one_process
+
+        check_one_process()
+        # The training package imports this module's package.
+        from megatron.bridge.release.export.run import export_checkpoint
+
+        if export_checkpoint(
+            self,
+            megatron_path,
+            hf_path,
+            release=release_path,
+            dtype=dtype,
+            max_shard_size=max_shard_size,
+            tokenizer=tokenizer_path,
+            rope_scaling_factor=rope_scaling_factor,
+            source_path=source_path,
+            strict=strict,
+            show_progress=show_progress,
+        ):
+            return
         model = self.load_megatron_model(megatron_path)
         self.save_hf_pretrained(model, hf_path)
''',
            ("self.load_megatron_model", "self.load"),
            "        model = self.load_megatron_model(megatron_path)\n",
        ),
        "save-hf-own-config": Snippet(
            '''
 class AutoBridge:
     def save_hf_pretrained(self, model, path):
         """Save it.

         Args:
             path: Its place.
+
+        Raises:
+            ValueError: If the config.json of the source model does not describe the model. Raised before anything is
+                written.
         """
+        if model_bridge is not None:
+            # The training package imports this module's package.
+            from megatron.bridge.release.export.trained_model import check_source_config
+
+            check_source_config(self, model)
         if dist.is_initialized():
             save()
''',
            ("dist.is_initialized", "is_initialized"),
            "        if dist.is_initialized():\n            save()\n",
        ),
        "import-low-memory": Snippet(
            '''
 class AutoBridge:
-    def import_ckpt(cls, model, **kwargs):
+    def import_ckpt(cls, model, *, low_memory_save: bool = True, **kwargs):
         """Convert it.

         Args:
             model: It.
+            low_memory_save: If True, frees the model while it is saved, which needs less memory and
+                more time. Default is True.
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
    }
