# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_conversion_auto_bridge.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_conversion_auto_bridge"
    SNIPPETS = {
        "import-release": Snippet(
            '''
+from collections.abc import Sequence
+
+from megatron.bridge.release.validation.errors import OverwriteWithoutReleaseError
+
+
 class AutoBridge:
-    def import_ckpt(cls, model, **kwargs):
+    def import_ckpt(
+        cls,
+        model,
+        *,
+        release: bool = False,
+        overwrite: bool = False,
+        allow_unused_tensors: Sequence[str] = (),
+        allow_config_fields: Sequence[str] = (),
+        **kwargs,
+    ):
         """Convert it.

         Args:
             model: It.
+            release: If True, writes a release checkpoint, which Megatron-LM fine-tunes from: the folder
+                ``release`` and the tracker ``release``. Default is False, which writes ``iter_0000000``
+                and the tracker ``0``.
+            overwrite: If True, ``release=True`` replaces the release in ``megatron_path`` when the new one is complete.
+                Default is False: a directory that contains a checkpoint is refused.
+            allow_unused_tensors: With ``release=True``, patterns, as of `fnmatch`, of unused tensors to skip. Default is
+                none: an unused tensor is an error. So is a pattern that matches no tensor of the model.
+            allow_config_fields: With ``release=True``, names of config fields to ignore: Megatron-LM then computes another
+                function. Default is none: a value that a release does not support is an error.
             **kwargs: More.
+
+        Raises:
+            ReleaseError: With ``release=True``, if ``megatron_path`` cannot be used or the model cannot be imported.
+                Raised before anything is written.
         """
+        if release:
+            # Imported here to avoid a circular import.
+            from megatron.bridge.release.write.run import import_model
+
+            import_model(
+                cls,
+                hf_model_id,
+                megatron_path,
+                overwrite=overwrite,
+                allow_unused_tensors=allow_unused_tensors,
+                allow_config_fields=allow_config_fields,
+                keywords=kwargs,
+            )
+            return
+        if overwrite:
+            raise OverwriteWithoutReleaseError
         bridge.save_megatron_model(1, **kwargs)
''',
            ("Args:", "Takes:"),
        ),
        "save-release": Snippet(
            '''
+from collections.abc import Sequence
+
+from megatron.bridge.release.validation.errors import OverwriteWithoutReleaseError
+
+
 class AutoBridge:
     def save_megatron_model(
         self,
         path,
+        release: bool = False,
+        overwrite: bool = False,
+        allow_unused_tensors: Sequence[str] = (),
+        allow_config_fields: Sequence[str] = (),
     ):
         """Save it.

         Args:
             path: Its place.
+            release: If True, writes a release checkpoint, which Megatron-LM fine-tunes from: the folder
+                ``release`` and the tracker ``release``. Default is False, which writes ``iter_0000000``
+                and the tracker ``0``.
+            overwrite: If True, ``release=True`` replaces the release in ``path`` when the new one is complete.
+                Default is False: a directory that contains a checkpoint is refused.
+            allow_unused_tensors: With ``release=True``, patterns, as of `fnmatch`, of unused tensors to skip. Default is
+                none: an unused tensor is an error. So is a pattern that matches no tensor of the model.
+            allow_config_fields: With ``release=True``, names of config fields to ignore: Megatron-LM then computes another
+                function. Default is none: a value that a release does not support is an error.
         """
+        if release:
+            # Imported here to avoid a circular import.
+            from megatron.bridge.release.write.run import save_bridge_model
+
+            save_bridge_model(
+                self,
+                model,
+                path,
+                overwrite=overwrite,
+                allow_unused_tensors=allow_unused_tensors,
+                allow_config_fields=allow_config_fields,
+                tokenizer_path=hf_tokenizer_path,
+                tokenizer_kwargs=hf_tokenizer_kwargs,
+            )
+            return
+        if overwrite:
+            raise OverwriteWithoutReleaseError
         save_megatron_model(1)
''',
            ("Args:", "Takes:"),
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
+        from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder
+
+        ckpt_path = Path(resolve_checkpoint_folder(ckpt_path))
""",
            ("ckpt_path.exists", "exists"),
            "        assert ckpt_path.exists()\n",
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
        "import-in-child": Snippet(
            """
+from megatron.bridge.release.host.child_process import run_in_child
+from megatron.bridge.utils.te_requirements import has_transformer_engine
+
+
 class AutoBridge:
     def import_ckpt(cls, hf_model_id, megatron_path, **kwargs):
+        if not has_transformer_engine():
+            run_in_child(cls.import_ckpt, hf_model_id, megatron_path, **kwargs)
+            return
         bridge = cls.from_hf_pretrained(hf_model_id, **kwargs)
""",
            ("cls.from_hf_pretrained", "cls.from_hf"),
            "        bridge = cls.from_hf_pretrained(hf_model_id, **kwargs)\n",
        ),
        "auto-config-run-config": Snippet(
            """
 class AutoBridge:
     def from_auto_config(cls, checkpoint_path):
-        from a import find_checkpoint_folder
+        from megatron.bridge.training.utils.checkpoint_resolver import resolve_run_config_folder

-        checkpoint_path = Path(find_checkpoint_folder(checkpoint_path))
+        checkpoint_path = Path(resolve_run_config_folder(checkpoint_path))
         return checkpoint_path
""",
            ("Path(find_checkpoint_folder(checkpoint_path))", "Path(checkpoint_path)"),
            "        checkpoint_path = Path(find_checkpoint_folder(checkpoint_path))\n",
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
-        run_in_child(cls.import_ckpt, model)
-        bridge.save_megatron_model(1, low_memory_save=True)
+        run_in_child(cls.import_ckpt, model, low_memory_save=low_memory_save)
+        bridge.save_megatron_model(1, low_memory_save=low_memory_save)
''',
            ("bridge.save", "cls.save"),
            "        bridge.save_megatron_model(1, low_memory_save=True)\n",
        ),
    }
