# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Private and unstable API of the libraries: one module per library. All other modules import it from here.

The modules' docstrings name the versions in which their contents were seen; `tests/unit/release/compat` tests each name.
"""
