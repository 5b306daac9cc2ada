# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The edits, one module for each upstream file.

A module has the name of its file below ``megatron/bridge/``, with ``_`` for ``/``, and its snippets are tested in
``tests/unit/patches/edits/test_<module>.py``. A change in ``patches/series.toml`` lists each edit, in any order.

An operation that replaces something whole has its digest, `was`. Write any first: `python -m patches status` says
"changed", and applying it names the digest of what stands there. Look at that before you write it down.
"""
