# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

import torch


class QuantizedTensor(torch.Tensor):
    """Class of quantized tensors, of which there are none."""
