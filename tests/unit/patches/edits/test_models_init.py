# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/models_init.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "models_init"
    SNIPPETS = {
        "register-mixtral": Snippet(
            """
 __all__ = ["a"]
+from megatron.bridge.models.mixtral import MixtralBridge  # noqa: E402, F401
""",
            None,
        ),
        "register-seed-oss": Snippet(
            """
 __all__ = ["a"]
+from megatron.bridge.models.seed_oss import SeedOssBridge  # noqa: E402, F401
""",
            None,
        ),
        "register-phi3": Snippet(
            """
 __all__ = ["a"]
+from megatron.bridge.models.phi import Phi3Bridge  # noqa: E402, F401
""",
            None,
        ),
        "register-ernie-4-5-dense": Snippet(
            """
 __all__ = ["a"]
+from megatron.bridge.models.ernie.ernie_45_dense_bridge import Ernie45DenseBridge  # noqa: E402, F401
""",
            None,
        ),
        "register-diffusion": Snippet(
            """
 __all__ = ["a"]
+import megatron.bridge.diffusion.models  # noqa: E402, F401
""",
            None,
        ),
    }
