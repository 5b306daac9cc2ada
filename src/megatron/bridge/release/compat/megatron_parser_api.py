# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Unstable API of Megatron-LM's parser (megatron.training), seen in core 0.18 and 0.19.

Importing this module raises an error if Megatron-LM is not installed, or is of another version.
"""

from megatron.training.arguments import add_megatron_arguments, parse_args, validate_args


__all__ = ["add_megatron_arguments", "parse_args", "validate_args"]
