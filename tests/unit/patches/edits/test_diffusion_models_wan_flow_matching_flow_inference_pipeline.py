# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/diffusion_models_wan_flow_matching_flow_inference_pipeline.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "diffusion_models_wan_flow_matching_flow_inference_pipeline"
    SNIPPETS = {
        "resolve-folder": Snippet(
            '''
+from megatron.bridge.training.utils.checkpoint_resolver import resolve_checkpoint_folder
+from megatron.bridge.training.utils.checkpoint_utils import is_checkpoint_iteration_directory
+
+
 class FlowInferencePipeline:
     def _select_checkpoint_dir(self, base_dir):
         """
-        Find it.
+        Resolve checkpoint directory:
+        - If checkpoint_step is provided, use base_dir/iter_{step:07d}
+        - Otherwise, base_dir itself if it is a checkpoint folder, or the folder that its tracker names
+        - Where there is no tracker, pick the largest iter_######## subdirectory under base_dir
         """
         checked = base_dir

+        folder = resolve_checkpoint_folder(base_dir)
+        if is_checkpoint_iteration_directory(folder):
+            return folder
+
         names = re.compile("a")
         return names
''',
            ("re.compile", "glob"),
            '        names = re.compile("a")\n',
        ),
    }
