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

"""Unstable API of huggingface_hub, seen in huggingface_hub 0.30 to 1.33.

Importing this module does not import torch.
"""

# Check that a name has the form of a model ID.
from huggingface_hub.utils import HFValidationError, validate_repo_id  # type: ignore[attr-defined,unused-ignore]


__all__ = ["HFValidationError", "validate_repo_id"]
