# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's models/hf_pretrained/base.py."""

from patches.edit import Edit
from patches.operations import ReplaceExpression


TARGET = "megatron/bridge/models/hf_pretrained/base.py"

EDITS = (
    Edit(
        name="weights-of-revision",
        symbol="PreTrainedBase.state",
        why="With revision=, the config and the tokenizer of that revision were read, and the weights of the default branch. "
        "token and cache_dir were ignored too.",
        drop_when="upstream passes the keywords of a loading to the download of the weights.",
        do=ReplaceExpression(
            "SafeTensorsStateSource(self.model_name_or_path)",
            "SafeTensorsStateSource(weights_folder(self.model_name_or_path, self.init_kwargs))",
        ),
        imports=("from megatron.bridge.release.source.hub import weights_folder",),
    ),
)
