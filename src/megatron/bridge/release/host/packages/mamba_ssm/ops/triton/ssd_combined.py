# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

from typing import Any, NoReturn


def mamba_chunk_scan_combined(*_: Any, **__: Any) -> NoReturn:
    """Compute a Mamba layer."""
    raise NotImplementedError("Computing a Mamba layer needs mamba-ssm and CUDA.")


mamba_split_conv1d_scan_combined = mamba_chunk_scan_combined
