# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_conversion_model_bridge.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_conversion_model_bridge"
    SNIPPETS = {
        "warn-without-source": Snippet(
            """
+from megatron.bridge.models.conversion.unmapped_parameters import warn_unmapped_parameters
+
+
 class MegatronModelBridge:
     def load_weights_hf_to_megatron(self):
         tasks = self.build_conversion_tasks(1)
+        warn_unmapped_parameters(self, unwrapped_model_list, hf_to_megatron_tasks)
         return tasks
""",
            ("build_conversion_tasks", "build_tasks"),
            "        tasks = self.build_conversion_tasks(1)\n",
        ),
        "partial-rotary-factor": Snippet(
            """
 class MegatronModelBridge:
     def hf_config_to_provider_kwargs(self, hf_config):
         provider_kwargs = {}
+        rope_parameters = getattr(hf_config, "rope_parameters", None) or {}
+        if "partial_rotary_factor" in rope_parameters:
+            provider_kwargs["rotary_percent"] = rope_parameters["partial_rotary_factor"]
         is_mla_provider = issubclass(1, 2)
""",
            ("issubclass", "isinstance"),
            "        is_mla_provider = issubclass(1, 2)\n",
        ),
        "keys-as-a-set": Snippet(
            """
 class MegatronModelBridge:
     def build_conversion_tasks(self):
-        hf_keys = hf_pretrained.state.source.get_all_keys() if has_hf_state else None
+        hf_keys = set(hf_pretrained.state.source.get_all_keys()) if has_hf_state else None
""",
            ("get_all_keys", "keys"),
            "        hf_keys = hf_pretrained.state.source.get_all_keys() if has_hf_state else None\n",
        ),
    }
