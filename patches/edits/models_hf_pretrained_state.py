# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/hf_pretrained/state.py."""

from patches.edit import Edit
from patches.operations import InsertStatements


TARGET = "megatron/bridge/models/hf_pretrained/state.py"

EDITS = (
    Edit(
        name="whole-model-alone",
        symbol="SafeTensorsStateSource.key_to_filename_map",
        why="Beside model.safetensors, other safetensors files (another format's, a file system's debris) were read too, "
        "and the last one's tensors won. transformers reads model.safetensors alone.",
        drop_when="upstream reads model.safetensors alone where there is no index.",
        do=InsertStatements(
            """
            # transformers reads model.safetensors alone if it exists.
            whole = [file for file in safetensor_files if Path(file).name == "model.safetensors" and Path(file).is_file()]
            safetensor_files = whole or safetensor_files
            """,
            after_call="file_glob",
        ),
    ),
)
