# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Checks before the work: the model, its tensors, config and tokenizer, and the output directory."""
