# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_model_provider.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_model_provider"
    SNIPPETS = {
        "cpu-initialization": Snippet(
            """
+from megatron.bridge.utils.host_compat import switch
+
+
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
        "without-transformer-engine": Snippet(
            """
+from megatron.bridge.utils.te_requirements import explains_missing_transformer_engine
+
+
+@explains_missing_transformer_engine
 def _create_model(): ...
""",
            ("_create_model", "_create"),
        ),
        "fits-to-host": Snippet(
            """
+from megatron.bridge.utils.host_compat import builds_on_this_host
+
+
+@builds_on_this_host
 def _create_model(): ...
""",
            ("_create_model", "_create"),
        ),
        "tied-without-cuda": Snippet(
            """
+from megatron.bridge.utils.cpu_fallbacks import builds_without_cuda
+
+
+@builds_without_cuda
 def _create_model(): ...
""",
            ("_create_model", "_create"),
        ),
        "provide-without-cuda": Snippet(
            """
-from megatron.bridge.utils.common_utils import get_local_rank_preinit
+from megatron.bridge.utils.cpu_fallbacks import distributed_backend, set_local_device


 class ModelProviderMixin:
     def provide_distributed_model(self):
-        torch.cuda.set_device(get_local_rank_preinit())
-        torch.distributed.init_process_group("nccl", rank=1)
+        set_local_device()
+        torch.distributed.init_process_group(distributed_backend(), rank=1)
""",
            ("torch.cuda", "torch.cpu"),
            '        torch.distributed.init_process_group("nccl", rank=1)\n',
        ),
        "parallel-without-cuda": Snippet(
            """
+from megatron.bridge.utils.cpu_fallbacks import distributed_backend, set_local_device
+
+
 class ModelProviderMixin:
     def initialize_model_parallel(self, seed):
-        torch.distributed.init_process_group("nccl")
-        torch.cuda.set_device(1)
-        return 1 if seed is not None else 2
+        torch.distributed.init_process_group(distributed_backend())
+        set_local_device()
+        return 1 if seed is not None and torch.cuda.is_available() else 2
""",
            ("seed is not None", "seed"),
            "        torch.cuda.set_device(1)\n",
        ),
    }
