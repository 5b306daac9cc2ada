# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits of patches/edits/scripts_conversion_arguments.py."""

from edit_snippets import EditSnippets, Snippet


class TestEdits(EditSnippets):
    FILE = "scripts_conversion_arguments"
    SNIPPETS = {
        "import-release": Snippet(
            """
 def build_parser():
     _add_common_conversion_arguments(import_parser, 1)
+    import_parser.add_argument(
+        "--release",
+        action="store_true",
+        help="Write the release checkpoint that Megatron-LM fine-tunes from: release/ and the tracker 'release'.",
+    )
     _add_common_conversion_arguments(export_parser, 1)
""",
            ("(import_parser", "(parser"),
            "    _add_common_conversion_arguments(import_parser, 1)\n",
        ),
        "worker-release": Snippet(
            """
 def conversion_worker_args(args):
     worker_args = []
+    if args.command == "import" and args.release:
+        worker_args.append("--release")
     return worker_args
""",
            ("conversion_worker_args", "worker_args"),
        ),
    }
