# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Writes a release: streams the weights, adds the other files, publishes the directory."""
