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

"""Which safetensors files of a folder without an index hold a model's weights."""

import os
from collections.abc import Sequence


WEIGHTS = "model.safetensors"


def weight_files(found: Sequence[str]) -> Sequence[str]:
    """Leave those files that hold the model.

    Args:
        found: Paths of the safetensors files of a folder.

    Returns:
        ``model.safetensors`` alone where it is one of them, for transformers reads no other then; else all of them.
    """
    whole = [file for file in found if os.path.basename(file) == WEIGHTS and os.path.isfile(file)]
    return whole or found
