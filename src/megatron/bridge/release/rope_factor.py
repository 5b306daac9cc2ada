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

"""Llama 3's rope scaling factor, which Megatron-LM parses but does not pass to its model.

Importing this module imports neither torch nor Megatron Core.
"""

from typing import Any


# Factor that Megatron-LM's own builders use up to core 0.20, regardless of --rope-scaling-factor.
BUILT_IN_ROPE_SCALING_FACTOR = 8.0

ENTRY_POINT = "megatron.bridge.release.megatron_lm"

# Only the entry point accepts this flag: a launch without the entry point fails in Megatron-LM's parser.
ENTRY_POINT_FLAG = f"--entry-point={ENTRY_POINT}"

# Attribute of Megatron-LM's args, which are saved in checkpoints: the factor of the model that the entry point built.
BUILT_FACTOR = "built_rope_scaling_factor"


def is_factor_ignored(use_rope_scaling: Any, rope_scaling_factor: Any) -> bool:
    """Return whether Megatron-LM's own builder ignores the factor in its arguments."""
    return bool(use_rope_scaling) and rope_scaling_factor not in (None, BUILT_IN_ROPE_SCALING_FACTOR)
