# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Unstable API of huggingface_hub, seen in huggingface_hub 0.30 to 1.33.

Importing this module does not import torch.
"""

# Check that a name has the form of a model ID.
from huggingface_hub.utils import HFValidationError, validate_repo_id  # type: ignore[attr-defined,unused-ignore]


__all__ = ["HFValidationError", "validate_repo_id"]
