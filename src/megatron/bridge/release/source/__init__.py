# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Reads Hugging Face models: a local directory, the Hub, safetensors files."""
