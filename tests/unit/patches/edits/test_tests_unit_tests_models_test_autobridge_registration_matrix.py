# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/tests_unit_tests_models_test_autobridge_registration_matrix.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "tests_unit_tests_models_test_autobridge_registration_matrix"
    SNIPPETS = {
        "mixtral": Snippet(
            """
 STRING_REGISTRATIONS = {"a"}
+EXPECTED_REGISTRATIONS["MixtralForCausalLM"] = "megatron.bridge.models.mixtral.mixtral_bridge.MixtralBridge"
+STRING_REGISTRATIONS.add("MixtralForCausalLM")
""",
            None,
        ),
        "seed-oss": Snippet(
            """
 STRING_REGISTRATIONS = {"a"}
+EXPECTED_REGISTRATIONS["SeedOssForCausalLM"] = "megatron.bridge.models.seed_oss.seed_oss_bridge.SeedOssBridge"
+STRING_REGISTRATIONS.add("SeedOssForCausalLM")
""",
            None,
        ),
        "phi3": Snippet(
            """
 STRING_REGISTRATIONS = {"a"}
+EXPECTED_REGISTRATIONS["Phi3ForCausalLM"] = "megatron.bridge.models.phi.phi3_bridge.Phi3Bridge"
+STRING_REGISTRATIONS.add("Phi3ForCausalLM")
""",
            None,
        ),
        "ernie-4-5-dense": Snippet(
            """
 STRING_REGISTRATIONS = {"a"}
+EXPECTED_REGISTRATIONS["Ernie4_5ForCausalLM"] = "megatron.bridge.models.ernie.ernie_45_dense_bridge.Ernie45DenseBridge"
+STRING_REGISTRATIONS.add("Ernie4_5ForCausalLM")
""",
            None,
        ),
    }
