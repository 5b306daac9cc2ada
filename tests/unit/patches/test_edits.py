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

"""Each edit on a small snippet of our own: what it does, and what it refuses."""

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

from patches.engine import AddImport, AlreadyApplied, NoMatch, ReplaceImport, SeveralMatches
from patches.series import load_series


ROOT = Path(__file__).resolve().parents[3]
EDITS = {placed.key: placed.edit for change in load_series(ROOT).changes for placed in change.edits}


class Snippet(NamedTuple):
    """A snippet and what an edit makes of it.

    Args:
        diff: The whole snippet as a diff: lines that stay begin with a space, others with `-` or `+`.
        gone: What to write in place of what in the snippet for the edit's place to be gone. An edit that adds or
            removes an import fits any module: for it, what it brings is there then, or what it removes is not.
        twice: Lines of the snippet, without the marks, that stand twice for the place to be there twice; the whole
            snippet, with the symbol or the import in it, if not given.
    """

    diff: str
    gone: tuple[str, str]
    twice: str = ""

    def side(self, mark: str) -> str:
        """The snippet before the edit, for "-", or after it, for "+"."""
        lines = self.diff.strip("\n").split("\n")
        return "".join(line[1:] + "\n" for line in lines if line[:1] in ("", " ", mark))

    @property
    def before(self) -> str:
        return self.side("-")

    @property
    def after(self) -> str:
        return self.side("+")

    def without(self) -> str:
        assert self.gone[0] in self.before
        return self.before.replace(*self.gone)

    def doubled(self) -> str:
        lines = self.twice or self.before
        assert self.before.count(lines) == 1
        return self.before.replace(lines, lines * 2)


SNIPPETS = {
    "models_conversion_auto_bridge:import-low-memory": Snippet(
        '''
 class AutoBridge:
-    def import_ckpt(cls, model):
+    def import_ckpt(cls, model, *, low_memory_save: bool = False):
         """Convert it.

         Args:
             model: It.
+            low_memory_save: If True, frees the model while it is saved, which needs less memory and
+                more time. Default is False.
         """
''',
        ("import_ckpt", "convert"),
    ),
    "models_conversion_auto_bridge:import-release": Snippet(
        '''
 class AutoBridge:
-    def import_ckpt(cls, *, low_memory_save=False, **kwargs):
+    def import_ckpt(cls, *, low_memory_save=False, release: bool = False, **kwargs):
         """Convert it.

         Args:
             low_memory_save: Slow.
+            release: If True, writes a release checkpoint, which Megatron-LM loads as it is: the folder
+                ``release`` and the tracker ``release``, published when every file is complete.
+                Default is False, which writes ``iter_0000000`` and the tracker ``0``.
             **kwargs: More.

         Returns:
             Nothing.
         """
''',
        ("Args:", "Takes:"),
    ),
    "models_conversion_auto_bridge:import-overwrite": Snippet(
        '''
 class AutoBridge:
-    def import_ckpt(cls, *, release: bool = False, **kwargs):
+    def import_ckpt(cls, *, release: bool = False, overwrite: bool = False, **kwargs):
         """Convert it.

         Args:
             release: As it is.
+            overwrite: If True, ``release=True`` replaces the release that ``megatron_path`` holds, when the
+                new one is complete. Default is False: a folder that holds a checkpoint is refused.
             **kwargs: More.

         Returns:
             Nothing.
         """
''',
        ("Args:", "Takes:"),
    ),
    "models_conversion_auto_bridge:import-example": Snippet(
        '''
 class AutoBridge:
     def import_ckpt(cls):
         """Convert it.

         Example:
             >>> AutoBridge.import_ckpt()
+
+            >>> # Import as the release checkpoint that Megatron-LM fine-tunes from
+            >>> AutoBridge.import_ckpt(
+            ...     "meta-llama/Meta-Llama-3-8B",
+            ...     "./megatron_checkpoints/llama3_8b",
+            ...     release=True
+            ... )

         Note:
             That is all.
         """
''',
        ('"""Convert', 'pass\n        """Convert'),
    ),
    "models_conversion_auto_bridge:import-raises": Snippet(
        '''
 class AutoBridge:
     def import_ckpt(cls):
-        """Convert it."""
+        """Convert it.
+
+        Raises:
+            ValueError: With ``release=True``, if the model or its architecture cannot be imported, or
+                ``megatron_path`` cannot hold the checkpoint. Raised before anything is written.
+        """
''',
        ('"""Convert it."""', "return cls"),
    ),
    "models_conversion_auto_bridge:import-checks": Snippet(
        '''
 class AutoBridge:
     def import_ckpt(cls):
         """Convert it."""
+        megatron_path = destination(megatron_path, release, overwrite)
+        if release:
+            hf_model_id = check_import(hf_model_id, megatron_path, overwrite, kwargs)
         return cls
''',
        ("class AutoBridge", "if AutoBridge"),
    ),
    "models_conversion_auto_bridge:import-process-group": Snippet(
        """
 class AutoBridge:
     @classmethod
+    @conversion_process_group()
     def import_ckpt(cls): ...
""",
        ("AutoBridge", "Bridge"),
    ),
    "models_conversion_auto_bridge:import-passes-low-memory": Snippet(
        """
 class AutoBridge:
     def import_ckpt(cls):
-        bridge.save_megatron_model(1, low_memory_save=True)
+        bridge.save_megatron_model(1, low_memory_save=low_memory_save)
""",
        ("bridge.", "cls."),
        "        bridge.save_megatron_model(1, low_memory_save=True)\n",
    ),
    "models_conversion_auto_bridge:import-passes-release": Snippet(
        """
 class AutoBridge:
     def import_ckpt(cls):
-        bridge.save_megatron_model(1, **kwargs)
+        bridge.save_megatron_model(1, release=release, **kwargs)
""",
        ("save_megatron_model", "save"),
        "        bridge.save_megatron_model(1, **kwargs)\n",
    ),
    "models_conversion_auto_bridge:import-passes-overwrite": Snippet(
        """
 class AutoBridge:
     def import_ckpt(cls):
-        bridge.save_megatron_model(1, **kwargs)
+        bridge.save_megatron_model(1, overwrite=overwrite, **kwargs)
""",
        ("save_megatron_model", "save"),
        "        bridge.save_megatron_model(1, **kwargs)\n",
    ),
    "models_conversion_auto_bridge:import-allow-tensors": Snippet(
        '''
 class AutoBridge:
-    def import_ckpt(cls, model):
+    def import_ckpt(cls, model, *, allow_unused_tensors: Sequence[str] = ()):
         """Convert it.

         Args:
             model: It.
+            allow_unused_tensors: With ``release=True``, patterns, as of `fnmatch`, of the model's tensors that may be left
+                out. Default is none: a tensor that is not converted is an error.
         """
''',
        ("import_ckpt", "convert"),
    ),
    "models_conversion_auto_bridge:import-allow-fields": Snippet(
        '''
 class AutoBridge:
-    def import_ckpt(cls, model):
+    def import_ckpt(cls, model, *, allow_config_fields: Sequence[str] = ()):
         """Convert it.

         Args:
             model: It.
+            allow_config_fields: With ``release=True``, names of fields of the model's config whose values may be lost:
+                Megatron-LM computes another function then. Default is none: a value that is not carried is an error.
         """
''',
        ("import_ckpt", "convert"),
    ),
    "models_conversion_auto_bridge:import-faithful": Snippet(
        """
 class AutoBridge:
     def import_ckpt(cls):
+        streamed: list[MegatronModelT] | None = None
+        if release:
+            # The training package imports this module's package.
+            from megatron.bridge.training.release.faithful import require_faithful
+            from megatron.bridge.training.release.streaming import streamed_model
+
+            accounted = require_faithful(bridge, allow_unused_tensors, allow_config_fields, hf_model_id)
+            streamed = streamed_model(bridge, accounted)
         model = bridge.to_megatron_model()
""",
        ("to_megatron_model", "to_model"),
        "        model = bridge.to_megatron_model()\n",
    ),
    "models_conversion_auto_bridge:import-streamed": Snippet(
        """
 class AutoBridge:
     def import_ckpt(cls):
-        model = bridge.to_megatron_model()
+        model = streamed or bridge.to_megatron_model()
""",
        ("to_megatron_model", "to_model"),
        "        model = bridge.to_megatron_model()\n",
    ),
    "models_conversion_auto_bridge:import-passes-allow-tensors": Snippet(
        """
 class AutoBridge:
     def import_ckpt(cls):
-        bridge.save_megatron_model(1, **kwargs)
+        bridge.save_megatron_model(1, allow_unused_tensors=allow_unused_tensors, **kwargs)
""",
        ("save_megatron_model", "save"),
        "        bridge.save_megatron_model(1, **kwargs)\n",
    ),
    "models_conversion_auto_bridge:import-passes-allow-fields": Snippet(
        """
 class AutoBridge:
     def import_ckpt(cls):
-        bridge.save_megatron_model(1, **kwargs)
+        bridge.save_megatron_model(1, allow_config_fields=allow_config_fields, **kwargs)
""",
        ("save_megatron_model", "save"),
        "        bridge.save_megatron_model(1, **kwargs)\n",
    ),
    "models_conversion_auto_bridge:save-release": Snippet(
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
         """
''',
        ("save_megatron_model", "save"),
    ),
    "models_conversion_auto_bridge:save-overwrite": Snippet(
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
''',
        ("save_megatron_model", "save"),
    ),
    "models_conversion_auto_bridge:save-example": Snippet(
        '''
 class AutoBridge:
     def save_megatron_model(self):
         """Save it.

         Example:
             >>> bridge.save_megatron_model()
+
+            >>> # Save the release checkpoint that Megatron-LM fine-tunes from
+            >>> bridge.save_megatron_model(megatron_model, "./megatron_checkpoint", release=True)
         """
''',
        ("save_megatron_model(self)", "save(self)"),
    ),
    "models_conversion_auto_bridge:save-passes-release": Snippet(
        """
 class AutoBridge:
     def save_megatron_model(self):
-        return save_megatron_model(1)
+        return save_megatron_model(1, release=release)
""",
        ("return save", "return io.save"),
        "        return save_megatron_model(1)\n",
    ),
    "models_conversion_auto_bridge:save-passes-overwrite": Snippet(
        """
 class AutoBridge:
     def save_megatron_model(self):
-        return save_megatron_model(1)
+        return save_megatron_model(1, overwrite=overwrite)
""",
        ("return save", "return io.save"),
        "        return save_megatron_model(1)\n",
    ),
    "models_conversion_auto_bridge:load-root": Snippet(
        """
 class AutoBridge:
     def load_megatron_model(self, path):
         # Where it is.
-        checkpoint_path = Path(path, 1)
+        checkpoint_path = path
         checkpoint_path = checkpoint_path or path
""",
        ("Path", "str"),
        "        checkpoint_path = Path(path, 1)\n",
    ),
    "models_conversion_auto_bridge:load-root-listing": Snippet(
        """
 class AutoBridge:
     def load_megatron_model(self):
-        # All folders.
-        iter_folders = [1]
         return iter_folders
""",
        ("load_megatron_model", "load"),
        "        iter_folders = [1]\n",
    ),
    "models_conversion_auto_bridge:load-root-highest": Snippet(
        """
 class AutoBridge:
     def load_megatron_model(self):
-        if iter_folders:
-            self.last()
         return self
""",
        ("load_megatron_model", "load"),
        "        if iter_folders:\n            self.last()\n",
    ),
    "models_conversion_auto_bridge:auto-config-root": Snippet(
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
    "models_conversion_auto_bridge:adapter-root": Snippet(
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
    "models_conversion_auto_bridge:import-destination": Snippet(
        """
 from megatron.bridge.aaa import a
+from megatron.bridge.training.release.destination import destination
 from megatron.bridge.zzz import z
""",
        ("aaa import a", "training.release.destination import a, destination"),
    ),
    "models_conversion_auto_bridge:import-import-checks": Snippet(
        """
 from megatron.bridge.aaa import a
+from megatron.bridge.training.utils.import_checks import check_import
 from megatron.bridge.zzz import z
""",
        ("aaa import a", "training.utils.import_checks import a, check_import"),
    ),
    "models_conversion_auto_bridge:import-host": Snippet(
        """
 from megatron.bridge.utils.host import (
     a,
+    conversion_process_group,
     z,
 )
""",
        ("a,\n", "a,\n    conversion_process_group,\n"),
    ),
    "models_conversion_auto_bridge:save-allow-tensors": Snippet(
        '''
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
''',
        ("save_megatron_model", "save"),
    ),
    "models_conversion_auto_bridge:save-allow-fields": Snippet(
        '''
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
''',
        ("save_megatron_model", "save"),
    ),
    "models_conversion_auto_bridge:save-faithful": Snippet(
        '''
 class AutoBridge:
     def save_megatron_model(self):
         """Save it."""
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
         return 1
''',
        ("class AutoBridge", "if AutoBridge"),
    ),
    "models_conversion_auto_bridge:save-passes-let-through": Snippet(
        """
 class AutoBridge:
     def save_megatron_model(self):
-        save_megatron_model(1)
+        save_megatron_model(1, let_through=let_through)
""",
        ("save_megatron_model(1)", "save(1)"),
    ),
    "models_conversion_auto_bridge:import-sequence": Snippet(
        """
 import dataclasses
+from collections.abc import Sequence
 from functools import partial
""",
        ("import dataclasses", "from collections.abc import Sequence"),
    ),
    "models_conversion_model_bridge:warn-without-source": Snippet(
        """
 class MegatronModelBridge:
     def load_weights_hf_to_megatron(self):
         tasks = self.build_conversion_tasks(1)
+        warn_without_source(self, unwrapped_model_list, hf_to_megatron_tasks)
         return tasks
""",
        ("build_conversion_tasks", "build_tasks"),
        "        tasks = self.build_conversion_tasks(1)\n",
    ),
    "models_conversion_model_bridge:keys-as-a-set": Snippet(
        """
 class MegatronModelBridge:
     def build_conversion_tasks(self):
-        hf_keys = hf_pretrained.state.source.get_all_keys() if has_hf_state else None
+        hf_keys = set(hf_pretrained.state.source.get_all_keys()) if has_hf_state else None
""",
        ("get_all_keys", "keys"),
    ),
    "models_conversion_model_bridge:import-sources": Snippet(
        """
 from megatron.bridge.aaa import a
+from megatron.bridge.models.conversion.sources import warn_without_source
 from megatron.bridge.zzz import z
""",
        ("aaa import a", "models.conversion.sources import a, warn_without_source"),
    ),
    "models_conversion_param_mapping:replicated-without-cuda": Snippet(
        """
 class ReplicatedMapping:
     def hf_to_megatron(self):
-        x = 1 if target_device.index != torch.cuda.current_device() else 2
+        x = 1 if torch.cuda.is_available() and target_device.index != torch.cuda.current_device() else 2
""",
        (".index", ".rank"),
        "        x = 1 if target_device.index != torch.cuda.current_device() else 2\n",
    ),
    "models_conversion_utils:native-despite-auto-map": Snippet(
        '''
 def get_causal_lm_class_name_via_auto_map(config):
     """Name it."""
+    if is_of_transformers(config):
+        return None
     return config.auto_map
''',
        ("get_causal_lm_class_name_via_auto_map", "get_name"),
    ),
    "models_conversion_utils:import-own-code": Snippet(
        """
 from megatron.bridge.aaa import a
+from megatron.bridge.models.conversion.own_code import is_of_transformers
 from megatron.bridge.zzz import z
""",
        ("aaa import a", "models.conversion.own_code import a, is_of_transformers"),
    ),
    "models_hf_pretrained_state:whole-model-alone": Snippet(
        """
 class SafeTensorsStateSource:
     def key_to_filename_map(self):
         safetensor_files = file_glob(self.path)
+        safetensor_files = weight_files(safetensor_files)
         return safetensor_files
""",
        ("file_glob", "listing"),
        "        safetensor_files = file_glob(self.path)\n",
    ),
    "models_hf_pretrained_state:import-weight-files": Snippet(
        """
 from megatron.bridge.aaa import a
+from megatron.bridge.models.hf_pretrained.weight_files import weight_files
 from megatron.bridge.zzz import z
""",
        ("aaa import a", "models.hf_pretrained.weight_files import a, weight_files"),
    ),
    "models_gpt_provider:vocabulary-padding": Snippet(
        """
 class GPTModelProvider:
     def provide(self):
-        if self.should_pad_vocab:
+        if self.should_pad_vocab or self.vocab_size % self.tensor_model_parallel_size:
             return 1
""",
        ("should_pad_vocab", "pads"),
        "        if self.should_pad_vocab:\n            return 1\n",
    ),
    "models_gpt_provider:default-layer-spec": Snippet(
        """
 def default_layer_spec(config):
+    if not has_transformer_engine():
+        return local_layer_spec(config)
     return 1
""",
        ("default_layer_spec", "layer_spec"),
    ),
    "models_gpt_provider:mtp-block-spec": Snippet(
        """
 def mtp_block_spec():
-    get_gpt_mtp_block_spec(1, use_transformer_engine=True)
+    get_gpt_mtp_block_spec(1, use_transformer_engine=has_transformer_engine())
""",
        ("get_gpt_mtp_block_spec", "get_spec"),
        "    get_gpt_mtp_block_spec(1, use_transformer_engine=True)\n",
    ),
    "models_gpt_provider:mtp-layer-specs": Snippet(
        """
 def mtp_block_spec():
-    get_gpt_decoder_layer_specs()
+    get_gpt_decoder_layer_specs(use_transformer_engine=has_transformer_engine())
""",
        ("get_gpt_decoder_layer_specs", "get_specs"),
        "    get_gpt_decoder_layer_specs()\n",
    ),
    "models_gpt_provider:gradient-accumulation-fusion": Snippet(
        """
 class GPTModelProvider:
-    gradient_accumulation_fusion: int = field(1)
+    gradient_accumulation_fusion: int = True
""",
        (" = field(1)", ""),
        "    gradient_accumulation_fusion: int = field(1)\n",
    ),
    "models_gpt_provider:import-dataclasses": Snippet(
        """
-from dataclasses import asdict, field
+from dataclasses import dataclass
""",
        ("dataclasses", "attrs"),
    ),
    "models_gpt_provider:import-host": Snippet(
        """
-from megatron.bridge.utils.host import z
+from megatron.bridge.utils.host import has_transformer_engine, z
""",
        (" z", " has_transformer_engine, z"),
    ),
    "models_hybrid_provider:gradient-accumulation-fusion": Snippet(
        """
 class HybridModelProvider:
-    gradient_accumulation_fusion: int = field(1)
+    gradient_accumulation_fusion: int = True
""",
        ("gradient_accumulation_fusion", "fusion"),
        "    gradient_accumulation_fusion: int = field(1)\n",
    ),
    "models_hybrid_provider:import-dataclasses": Snippet(
        """
-from dataclasses import asdict, field
+from dataclasses import dataclass
""",
        ("from", "if 1:\n    from"),
    ),
    "models_hybrid_provider:import-fusions": Snippet(
        """
-from megatron.bridge.utils import a
 from megatron.bridge.utils.z import b
""",
        ("utils", "tools"),
        "from megatron.bridge.utils import a\n",
    ),
    "diffusion_models_wan_flow_matching_flow_inference_pipeline:resolve-folder": Snippet(
        """
 class FlowInferencePipeline:
     def _select_checkpoint_dir(self, base_dir):
         checked = base_dir

+        folder = resolve_checkpoint_folder(base_dir)
+        if is_checkpoint_iteration_directory(folder):
+            return folder
+
         names = re.compile("a")
         return names
""",
        ("re.compile", "glob"),
        '        names = re.compile("a")\n',
    ),
    "diffusion_models_wan_flow_matching_flow_inference_pipeline:resolve-folder-docstring": Snippet(
        '''
 class FlowInferencePipeline:
     def _select_checkpoint_dir(self, base_dir):
-        """
-        Find it.
+        """Resolve checkpoint directory:
+        - If checkpoint_step is provided, use base_dir/iter_{step:07d}
+        - Otherwise, base_dir itself if it is a checkpoint folder, or the folder that its tracker names
+        - Where there is no tracker, pick the largest iter_######## subdirectory under base_dir
         """
         return base_dir
''',
        ("_select_checkpoint_dir", "_select"),
    ),
    "diffusion_models_wan_flow_matching_flow_inference_pipeline:import-checkpoint-root": Snippet(
        """
 import re
+
+from megatron.bridge.training.utils.checkpoint_root import resolve_checkpoint_folder
""",
        ("import re", "from megatron.bridge.training.utils.checkpoint_root import resolve_checkpoint_folder, z"),
    ),
    "diffusion_models_wan_flow_matching_flow_inference_pipeline:import-checkpoint-utils": Snippet(
        """
-from megatron.bridge.training.utils.checkpoint_utils import z
+from megatron.bridge.training.utils.checkpoint_utils import is_checkpoint_iteration_directory, z
""",
        (" z", " is_checkpoint_iteration_directory, z"),
    ),
    "models_megatron_mimo_conversion_mimo_model_io:resolve-folder": Snippet(
        '''
 def _resolve_iter_folder(path):
     """Find it."""
-    return 1
+    folder = resolve_checkpoint_folder(path)
+    if not is_checkpoint_iteration_directory(folder):
+        raise FileNotFoundError(f"{path} is neither a checkpoint root nor a checkpoint folder.")
+    return Path(folder)
''',
        ("_resolve_iter_folder", "_resolve"),
    ),
    "models_megatron_mimo_conversion_mimo_model_io:resolve-folder-docstring": Snippet(
        '''
 def _resolve_iter_folder(path):
-    """Find it."""
+    """Resolve a checkpoint root, or a checkpoint folder, to the checkpoint folder."""
     return 1
''',
        ("_resolve_iter_folder", "_resolve"),
    ),
    "models_megatron_mimo_conversion_mimo_model_io:import-checkpoint-root": Snippet(
        """
 import re
+
+from megatron.bridge.training.utils.checkpoint_root import resolve_checkpoint_folder
""",
        ("import re", "from megatron.bridge.training.utils.checkpoint_root import resolve_checkpoint_folder, z"),
    ),
    "models_megatron_mimo_conversion_mimo_model_io:import-checkpoint-utils": Snippet(
        """
-from megatron.bridge.training.utils.checkpoint_utils import z
+from megatron.bridge.training.utils.checkpoint_utils import is_checkpoint_iteration_directory, z
""",
        (" z", " is_checkpoint_iteration_directory, z"),
    ),
    "models_model_provider:provide-device": Snippet(
        """
 class ModelProviderMixin:
     def provide_distributed_model(self):
-        torch.cuda.set_device(1)
+        set_local_device()
""",
        ("cuda", "cpu"),
        "        torch.cuda.set_device(1)\n",
    ),
    "models_model_provider:provide-backend": Snippet(
        """
 class ModelProviderMixin:
     def provide_distributed_model(self):
-        torch.distributed.init_process_group("b", rank=1)
+        torch.distributed.init_process_group(distributed_backend(), rank=1)
""",
        ('"b", rank=1', 'backend="b"'),
        '        torch.distributed.init_process_group("b", rank=1)\n',
    ),
    "models_model_provider:parallel-device": Snippet(
        """
 class ModelProviderMixin:
     def initialize_model_parallel(self):
-        torch.cuda.set_device(1)
+        set_local_device()
""",
        ("torch.", ""),
        "        torch.cuda.set_device(1)\n",
    ),
    "models_model_provider:parallel-backend": Snippet(
        """
 class ModelProviderMixin:
     def initialize_model_parallel(self):
-        torch.distributed.init_process_group("b")
+        torch.distributed.init_process_group(distributed_backend())
""",
        ("torch.", ""),
        '        torch.distributed.init_process_group("b")\n',
    ),
    "models_model_provider:parallel-seed": Snippet(
        """
 class ModelProviderMixin:
     def initialize_model_parallel(self, seed):
-        return 1 if seed is not None else 2
+        return 1 if seed is not None and torch.cuda.is_available() else 2
""",
        ("seed is not None", "seed"),
        "        return 1 if seed is not None else 2\n",
    ),
    "models_model_provider:cpu-initialization": Snippet(
        """
 def get_model(model_provider):
     if model_provider:
-        model_provider.use_cpu_initialization = 1
+        model_provider.use_cpu_initialization = bool(use_cpu_initialization)
+        if not torch.cuda.is_available():
+            switch(model_provider, "use_cpu_initialization", True)
""",
        ("model_provider.use", "use"),
        "        model_provider.use_cpu_initialization = 1\n",
    ),
    "models_model_provider:without-transformer-engine": Snippet(
        """
+@explains_missing_transformer_engine
 def _create_model(): ...
""",
        ("_create_model", "_create"),
    ),
    "models_model_provider:tied-without-cuda": Snippet(
        """
+@builds_without_cuda
 def _create_model(): ...
""",
        ("_create_model", "_create"),
    ),
    "models_model_provider:import-host": Snippet(
        """
 from megatron.bridge.a import a
-from megatron.bridge.utils.common_utils import b
+from megatron.bridge.utils.host import (
+    builds_without_cuda,
+    distributed_backend,
+    explains_missing_transformer_engine,
+    set_local_device,
+    switch,
+)
""",
        ("common_utils", "utils"),
    ),
    "models_transformer_config:fit-gpt": Snippet(
        """
 class TransformerConfig:
     def finalize(self):
+        fit_to_host(self)
         return 1
""",
        ("finalize", "end"),
    ),
    "models_transformer_config:fit-mla": Snippet(
        """
 class MLATransformerConfig:
     def finalize(self):
+        fit_to_host(self)
         return 1
""",
        ("MLA", ""),
    ),
    "models_transformer_config:fit-heterogeneous": Snippet(
        """
 class HeterogeneousTransformerConfig:
     def finalize(self):
+        fit_to_host(self)
         return 1
""",
        ("\n        return", " return"),
    ),
    "models_transformer_config:import-host": Snippet(
        """
-from megatron.bridge.utils.host import a
+from megatron.bridge.utils.host import a, fit_to_host
""",
        (" a", " fit_to_host, a"),
    ),
    "peft_lora_layers:transformer-engine": Snippet(
        """
 import a
-import transformer_engine.pytorch as engine
 import z
+
+
+try:
+    import transformer_engine.pytorch as te
+except ImportError:
+    te = None
""",
        ("transformer_engine", "engine"),
        "import transformer_engine.pytorch as engine\n",
    ),
    "peft_lora_layers:annotations": Snippet(
        """
+from __future__ import annotations
+
 import re
""",
        ("import re", "from __future__ import annotations, division"),
    ),
    "training_checkpointing:save-checkpoint-release": Snippet(
        '''
-def save_checkpoint(state):
+def save_checkpoint(state, release: bool = False):
     """Save it.

     Args:
         state: It.
+        release: If True, writes the checkpoint folder ``release`` and the tracker ``release``, from which
+            Megatron-LM starts fine-tuning. Default is False.
     """
''',
        ("save_checkpoint", "save"),
    ),
    "training_checkpointing:save-checkpoint-folder": Snippet(
        """
 def save_checkpoint():
-    get_checkpoint_name(1)
+    get_checkpoint_name(1, release=release)
""",
        ("get_checkpoint_name", "get_name"),
        "    get_checkpoint_name(1)\n",
    ),
    "training_checkpointing:save-checkpoint-tracker": Snippet(
        """
 def save_checkpoint(f):
-    f.write(1)
-    f.write(2)
+    f.write("release" if release else str(step))
+    f.write("release" if release else str(step))
""",
        ("f.write(2)", "g.write(2)"),
        "    f.write(2)\n",
    ),
    "training_checkpointing:save-checkpoint-tracker-last": Snippet(
        """
 def save_checkpoint():
-    with msc.open(1) as f:
+    with open_tracker_object(tracker_filename, release) as f:
         pass
""",
        ("msc.open", "s3.open"),
        "    with msc.open(1) as f:\n        pass\n",
    ),
    "training_checkpointing:save-checkpoint-state-dict": Snippet(
        """
 def save_checkpoint():
+    if release:
+        prepare_release_state_dict(state_dict, cfg)
+
     x = _get_model_glu_interleave_sizes(1)
""",
        ("_get_model_glu_interleave_sizes", "_sizes"),
        "    x = _get_model_glu_interleave_sizes(1)\n",
    ),
    "training_checkpointing:save-checkpoint-run-config": Snippet(
        """
 def save_checkpoint():
-    cfg.to_yaml(1)
+    write_run_config(cfg, config_filename)
""",
        ("to_yaml", "to_json"),
        "    cfg.to_yaml(1)\n",
    ),
    "training_checkpointing:save-checkpoint-train-state": Snippet(
        """
 def save_checkpoint():
     msc.torch.save(1)
-    torch.save(1)
+    (save_object if release else torch.save)(train_state_dict, train_state_local_filename)
""",
        ("    torch.save(1)", "    torch.write(1)"),
        "    torch.save(1)\n",
    ),
    "training_checkpointing:save-checkpoint-without-cuda": Snippet(
        """
+@checkpointing_without_cuda()
 @a
 def save_checkpoint(): ...
""",
        ("save_checkpoint", "save"),
    ),
    "training_checkpointing:tokenizer-required": Snippet(
        '''
-def save_tokenizer_assets(tokenizer):
+def save_tokenizer_assets(tokenizer, required: bool = False):
     """Save it.

     Args:
         tokenizer: It.
+        required: If True, raises what stops it. Default is False: it is logged.
     """
''',
        ("Args:", "Takes:"),
    ),
    "training_checkpointing:tokenizer-raises": Snippet(
        """
 def save_tokenizer_assets():
     try:
         save()
     except OSError as e:
+        if required:
+            raise TokenizerNotSaved(f"The tokenizer could not be saved, so nothing is published: {e}") from e
         if get_rank_safe() == 0:
             log(e)
""",
        ("get_rank_safe", "get_rank"),
        "        if get_rank_safe() == 0:\n            log(e)\n",
    ),
    "training_checkpointing:import-release-checkpoint": Snippet(
        """
 from megatron.bridge.a import a
+from megatron.bridge.training.release_checkpoint import (
+    TokenizerNotSaved,
+    open_tracker_object,
+    prepare_release_state_dict,
+    save_object,
+    write_run_config,
+)
""",
        (
            "a import a",
            "training.release_checkpoint import "
            "TokenizerNotSaved, open_tracker_object, prepare_release_state_dict, save_object, write_run_config",
        ),
    ),
    "training_checkpointing:import-host": Snippet(
        """
 from megatron.bridge.a import a
+from megatron.bridge.utils.host import checkpointing_without_cuda
""",
        ("a import a", "utils.host import checkpointing_without_cuda"),
    ),
    "training_checkpointing:import-checkpoint-root": Snippet(
        """
-from megatron.bridge.training.utils.checkpoint_root import read_tracker
+from megatron.bridge.training.utils.checkpoint_root import (
+    checkpoint_folder,
+    on_rank_0,
+    read_tracker,
+    read_tracker_file,
+)
""",
        ("read_tracker\n", "checkpoint_folder, on_rank_0, read_tracker, read_tracker_file\n"),
    ),
    "training_checkpointing:rng-state-without-cuda": Snippet(
        """
 def get_rng_state():
-    x = {1: torch.cuda.get_rng_state()}
+    x = {1: torch.cuda.get_rng_state() if torch.cuda.is_available() else None}
""",
        (".cuda", ""),
        "    x = {1: torch.cuda.get_rng_state()}\n",
    ),
    "training_checkpointing:read-metadata": Snippet(
        '''
 def read_metadata(tracker_filename):
     """Read it."""
-    return 1
+    return on_rank_0(lambda: read_tracker_file(tracker_filename))
''',
        ("read_metadata", "read"),
    ),
    "training_checkpointing:read-metadata-docstring": Snippet(
        '''
 def read_metadata(tracker_filename):
-    """Read it."""
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
     return 1
''',
        ("read_metadata", "read"),
    ),
    "training_checkpointing:resolve-iteration": Snippet(
        """
 def _resolve_checkpoint_iteration(load_dir):
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
""",
        ("\n    return", " return"),
    ),
    "training_checkpointing:resolve-iteration-docstring": Snippet(
        '''
 def _resolve_checkpoint_iteration(load_dir):
-    """Find it.
+    """Tell which checkpoint to load. Collective, unless ``load_dir`` is a checkpoint folder.

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
     return 1
''',
        ("_resolve_checkpoint_iteration", "_resolve"),
    ),
    "training_checkpointing:load-base-folder": Snippet(
        """
 def _load_base_checkpoint():
-    checkpoint_path = get_checkpoint_name(1)
+    checkpoint_path = checkpoint_folder(load_dir, iteration, release)
     checkpoint_path = 2
""",
        ("get_checkpoint_name", "get_name"),
        "    checkpoint_path = get_checkpoint_name(1)\n",
    ),
    "training_checkpointing:load-fsdp-dtensor-folder": Snippet(
        """
 def _load_checkpoint_from_path(load_dir):
-    if is_checkpoint_iteration_directory(load_dir):
-        checkpoint_name = 1
-    else:
-        checkpoint_name = 2
+    iteration, release = _resolve_checkpoint_iteration(load_dir, None)
+    if iteration == -1:
+        print_rank_0(f"WARNING: no tracker in {load_dir}, nothing is loaded")
+        return 0, 0
+    checkpoint_name = (
+        load_dir
+        if iteration == _DIRECT_ITERATION_DIR_SENTINEL
+        else checkpoint_folder(load_dir, iteration, release)
+    )
""",
        ("(load_dir)", "(folder)"),
        "    if is_checkpoint_iteration_directory(load_dir):\n        checkpoint_name = 1\n    else:\n        checkpoint_name = 2\n",
    ),
    "training_checkpointing:load-fsdp-dtensor-release": Snippet(
        """
 def _load_checkpoint_from_path():
-    x = get_rerun_state_machine() if not cfg.checkpoint.finetune else 1
+    x = get_rerun_state_machine() if not release and not cfg.checkpoint.finetune else 1
     y = 2 if not cfg.checkpoint.finetune else 3
""",
        ("get_rerun_state_machine", "get_machine"),
        "    x = get_rerun_state_machine() if not cfg.checkpoint.finetune else 1\n",
    ),
    "training_model_load_save:save-release": Snippet(
        '''
-def save_megatron_model(model):
+def save_megatron_model(model, release: bool = False):
     """Save it.

     Args:
         model: It.
+        release: If True, writes a release checkpoint, which Megatron-LM loads as it is: the folder
+            ``release`` and the tracker ``release``, published when every file is complete.
+            Default is False, which writes ``iter_0000000`` and the tracker ``0``.
     """
''',
        ("Args:", "Takes:"),
    ),
    "training_model_load_save:save-overwrite": Snippet(
        '''
-def save_megatron_model(model):
+def save_megatron_model(model, overwrite: bool = False):
     """Save it.

     Args:
         model: It.
+        overwrite: If True, ``release=True`` replaces the release that ``path`` holds, when the
+            new one is complete. Default is False: a folder that holds a checkpoint is refused.
     """
''',
        ("Args:", "Takes:"),
    ),
    "training_model_load_save:save-let-through": Snippet(
        '''
-def save_megatron_model(model):
+def save_megatron_model(model, let_through: Sequence[str] = ()):
     """Save it.

     Args:
         model: It.
+        let_through: With ``release=True``, what the model lacks of the one that it was made of, a sentence
+            each, which the release records.
     """
''',
        ("Args:", "Takes:"),
    ),
    "training_model_load_save:import-sequence": Snippet(
        """
 import dataclasses
+from collections.abc import Sequence
 from functools import partial
""",
        ("import dataclasses", "from collections.abc import Sequence"),
    ),
    "training_model_load_save:save-publishes": Snippet(
        """
+@publishes_release
 def save_megatron_model(): ...
""",
        ("save_megatron_model", "save"),
    ),
    "training_model_load_save:save-example": Snippet(
        '''
 def save_megatron_model():
-    """Save it."""
+    """Save it.
+
+    Example:
+        >>> # Save the release checkpoint that Megatron-LM fine-tunes from
+        >>> save_megatron_model(megatron_model, "./megatron_checkpoint", release=True)
+    """
''',
        ('"""Save it."""', "return 1"),
    ),
    "training_model_load_save:save-low-memory": Snippet(
        """
 def save_megatron_model():
-    save_checkpoint(1, prebuilt_state_dict=2)
+    save_checkpoint(1, prebuilt_state_dict=2, release=release)
     save_checkpoint(3)
""",
        ("prebuilt_state_dict=2", "state_dict=2"),
        "    save_checkpoint(1, prebuilt_state_dict=2)\n",
    ),
    "training_model_load_save:save-whole-model": Snippet(
        """
 def save_megatron_model():
     save_checkpoint(1, prebuilt_state_dict=2)
-    save_checkpoint(3)
+    save_checkpoint(3, release=release)
""",
        ("(3)", "(3, prebuilt_state_dict=4)"),
        "    save_checkpoint(3)\n",
    ),
    "training_model_load_save:save-low-memory-writer": Snippet(
        """
 def save_megatron_model():
-    save_checkpoint(1, prebuilt_state_dict=2)
+    save_checkpoint(1, prebuilt_state_dict=2, checkpointing_context=checkpointing_context(model, ckpt_format, release))
     save_checkpoint(3)
""",
        ("prebuilt_state_dict=2", "state_dict=2"),
        "    save_checkpoint(1, prebuilt_state_dict=2)\n",
    ),
    "training_model_load_save:save-whole-model-writer": Snippet(
        """
 def save_megatron_model():
     save_checkpoint(1, prebuilt_state_dict=2)
-    save_checkpoint(3)
+    save_checkpoint(3, checkpointing_context=checkpointing_context(model, ckpt_format, release))
""",
        ("(3)", "(3, prebuilt_state_dict=4)"),
        "    save_checkpoint(3)\n",
    ),
    "training_model_load_save:save-tokenizer-required": Snippet(
        """
 def save_megatron_model():
-    save_tokenizer_assets(1)
+    save_tokenizer_assets(1, required=release)
""",
        ("save_tokenizer_assets", "save_assets"),
        "    save_tokenizer_assets(1)\n",
    ),
    "training_model_load_save:save-tokenizer": Snippet(
        """
 def save_megatron_model():
-    get_checkpoint_name(1)
+    get_checkpoint_name(1, release=release)
""",
        ("get_checkpoint_name", "get_name"),
        "    get_checkpoint_name(1)\n",
    ),
    "training_model_load_save:resolve-tokenizer": Snippet(
        """
 def load_tokenizer():
+    checkpoint_path = resolve_run_config_folder(checkpoint_path)
     x = get_checkpoint_run_config_filename(1)
""",
        ("get_checkpoint_run_config_filename", "get_name"),
        "    x = get_checkpoint_run_config_filename(1)\n",
    ),
    "training_model_load_save:resolve-model-config": Snippet(
        """
 def load_model_config():
+    checkpoint_path = resolve_run_config_folder(checkpoint_path)
     x = get_checkpoint_run_config_filename(1)
""",
        ("load_model_config", "load_config"),
        "    x = get_checkpoint_run_config_filename(1)\n",
    ),
    "training_model_load_save:tokenizer-locally": Snippet(
        """
 def load_tokenizer():
-    run_config = read_run_config(1)
+    run_config = read_run_config(1, broadcast=False)
""",
        ("read_run_config", "read_config"),
    ),
    "training_model_load_save:model-config-locally": Snippet(
        """
 def load_model_config():
-    run_config = read_run_config(1)
+    run_config = read_run_config(1, broadcast=False)
""",
        ("load_model_config", "load_config"),
    ),
    "training_model_load_save:resolve-model": Snippet(
        """
 def load_megatron_model():
+    checkpoint_path = agree_on_checkpoint_folder(checkpoint_path)
     x = load_model_config(1)
""",
        ("load_model_config", "load_config"),
        "    x = load_model_config(1)\n",
    ),
    "training_model_load_save:resolve-build": Snippet(
        """
 def build_and_load_model():
+    checkpoint_path = agree_on_checkpoint_folder(checkpoint_path)
     if has_modelopt_state(1):
         return 2
""",
        ("has_modelopt_state", "has_state"),
        "    if has_modelopt_state(1):\n        return 2\n",
    ),
    "training_model_load_save:cpu-load": Snippet(
        """
 def load_megatron_model():
+    use_cpu_init = use_cpu_init or not torch.cuda.is_available()
     x = load_model_config(1)
""",
        ("load_model_config", "load_config"),
        "    x = load_model_config(1)\n",
    ),
    "training_model_load_save:cpu-build": Snippet(
        """
 def build_and_load_model():
+    use_cpu_init = use_cpu_init or not torch.cuda.is_available()
     x = has_modelopt_state(1)
""",
        ("build_and_load_model", "build"),
        "    x = has_modelopt_state(1)\n",
    ),
    "training_model_load_save:import-release-checkpoint": Snippet(
        """
-from megatron.bridge.training.release_checkpoint import z
+from megatron.bridge.training.release_checkpoint import checkpointing_context, publishes_release, z
""",
        (" z", " checkpointing_context, publishes_release, z"),
    ),
    "training_model_load_save:import-checkpoint-root": Snippet(
        """
+from megatron.bridge.training.utils.checkpoint_root import agree_on_checkpoint_folder, resolve_run_config_folder
 from megatron.bridge.z import z
""",
        ("z import z", "training.utils.checkpoint_root import agree_on_checkpoint_folder, resolve_run_config_folder"),
    ),
    "training_utils_checkpoint_utils:hf-model-id": Snippet(
        '''
 def get_hf_model_id_from_checkpoint(path):
     """Find it."""
-    return 1
+    # checkpoint_root imports this module.
+    from megatron.bridge.training.utils.checkpoint_root import resolve_run_config_folder
+
+    root = maybe_msc.Path(str(path))
+    if not root.exists():
+        raise FileNotFoundError(f"There is no checkpoint at {root}.")
+    if not root.is_dir():
+        raise NotADirectoryError(f"{root} is a file; give the checkpoint root or a checkpoint folder.")
+
+    run_config_filename = get_checkpoint_run_config_filename(resolve_run_config_folder(str(path)))
+    if not file_exists(run_config_filename):
+        return None
+    run_config = read_run_config(run_config_filename, broadcast=False)
+    model = run_config.get("model") if isinstance(run_config, dict) else None
+    hf_model_id = model.get("hf_model_id") if isinstance(model, dict) else None
+    return str(hf_model_id) if hf_model_id else None
''',
        ("get_hf_model_id_from_checkpoint", "get_id"),
    ),
    "training_utils_checkpoint_utils:hf-model-id-docstring": Snippet(
        '''
 def get_hf_model_id_from_checkpoint(path):
-    """
-    Find it.
+    """Tell the Hugging Face model that a checkpoint was made of. Not collective.
+
+    Args:
+        path: Checkpoint root, which stands for the checkpoint that its tracker names, or a checkpoint folder.
+
+    Returns:
+        The model's ID or folder; None where the checkpoint does not name it.
+
+    Raises:
+        FileNotFoundError: If there is nothing at the path, or if the tracker names a folder that is not there.
+        NotADirectoryError: If the path is no folder.
+        ValueError: If the tracker is torn, empty, or holds anything else.
     """
     return 1
''',
        ("get_hf_model_id_from_checkpoint", "get_id"),
    ),
    "training_utils_checkpoint_utils:run-config-broadcast": Snippet(
        '''
 @cache
-def read_run_config(run_config_filename: str):
+def read_run_config(run_config_filename: str, broadcast: bool = True):
     """Read it.

     Args:
         run_config_filename: Where it is.
+        broadcast: Whether rank 0 reads for every rank; else this rank does. Default is True.
     """
     return 1
''',
        ("read_run_config", "read_config"),
    ),
    "training_utils_checkpoint_utils:run-config-local": Snippet(
        """
 def read_run_config(run_config_filename):
-    if torch.distributed.is_initialized():
+    if broadcast and torch.distributed.is_initialized():
         return 1
     return 2
""",
        ("is_initialized", "is_available"),
    ),
    "training_utils_checkpoint_utils:import-maybe-msc": Snippet(
        """
 from megatron.core.a import a
+from megatron.core.msc_utils import maybe_msc
""",
        ("a import a", "msc_utils import maybe_msc, z"),
    ),
    "training_utils_checkpoint_utils:import-posixpath": Snippet(
        """
-import posixpath as path
 import re
""",
        ("posixpath", "ntpath"),
        "import posixpath as path\n",
    ),
}


def fits_anywhere(key: str) -> bool:
    """Whether the edit adds or removes an import, which no module is unfit for."""
    do = EDITS[key].do
    return isinstance(do, AddImport) or (isinstance(do, ReplaceImport) and not do.code)


KEYS = sorted(EDITS.keys() & SNIPPETS.keys())
UNIQUE = [key for key in KEYS if not isinstance(EDITS[key].do, AddImport)]


def test_every_edit_has_its_snippet():
    assert sorted(SNIPPETS) == sorted(EDITS)


@pytest.mark.parametrize("key", KEYS)
def test_the_edit_changes_what_it_should_and_nothing_else(key):
    assert EDITS[key].apply(SNIPPETS[key].before) == SNIPPETS[key].after


@pytest.mark.parametrize("key", KEYS)
def test_a_place_that_is_gone_is_refused(key):
    with pytest.raises(AlreadyApplied if fits_anywhere(key) else NoMatch):
        EDITS[key].apply(SNIPPETS[key].without())


@pytest.mark.parametrize("key", UNIQUE)
def test_a_place_that_is_there_twice_is_refused(key):
    with pytest.raises(SeveralMatches):
        EDITS[key].apply(SNIPPETS[key].doubled())


@pytest.mark.parametrize("key", KEYS)
def test_an_upstream_that_has_the_change_in_its_own_layout_is_refused(key):
    with pytest.raises(AlreadyApplied):
        EDITS[key].apply(ast.unparse(ast.parse(SNIPPETS[key].after)) + "\n")


@pytest.mark.parametrize("key", KEYS)
def test_the_edit_is_refused_the_second_time(key):
    with pytest.raises(AlreadyApplied):
        EDITS[key].apply(EDITS[key].apply(SNIPPETS[key].before))
