# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Unstable API of Megatron-LM's model builder (megatron.training), seen in core 0.19 only.

Importing this module raises an error if Megatron-LM is not installed, or is of another version.
"""

from megatron.training.argument_utils import gpt_config_from_args
from megatron.training.models import GPTModelBuilder


__all__ = ["GPTModelBuilder", "gpt_config_from_args"]
