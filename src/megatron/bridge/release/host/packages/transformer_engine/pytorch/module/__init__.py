# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Norms and linear layers."""

from collections.abc import Sequence
from typing import Any

import torch

from .base import LinearBase, TransformerEngineBaseModule, filled, normalize


class LayerNorm(TransformerEngineBaseModule):
    """See Transformer Engine."""

    normalization = "LayerNorm"

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        sequence_parallel: bool | None = None,
        params_dtype: torch.dtype | None = None,
        zero_centered_gamma: bool = False,
        device: Any = None,
        **_: Any,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps, self.zero_centered_gamma = eps, zero_centered_gamma
        self.weight = filled(shape, float(not zero_centered_gamma), device, params_dtype)
        self.bias = filled(shape, 0.0, device, params_dtype) if self.normalization == "LayerNorm" else None
        for parameter in self.parameters():
            vars(parameter)["sequence_parallel"] = bool(sequence_parallel)

    def compute(self, inp: torch.Tensor) -> torch.Tensor:
        return normalize(self.normalization, inp, self.weight, self.bias, self.eps, self.zero_centered_gamma)


class RMSNorm(LayerNorm):
    """See Transformer Engine."""

    normalization = "RMSNorm"


class Linear(LinearBase):
    """See Transformer Engine."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        sequence_parallel: bool = False,
        tp_group: Any = None,
        tp_size: int = 1,
        init_method: Any = None,
        bias: bool = True,
        return_bias: bool = False,
        params_dtype: torch.dtype | None = None,
        parallel_mode: str | None = None,
        device: Any = None,
        **_: Any,
    ) -> None:
        super().__init__(
            in_features, out_features, bias, return_bias, parallel_mode, tp_group, tp_size, sequence_parallel
        )
        self.add_linear("weight", "bias", init_method, device, params_dtype)

    def compute(self, inp: torch.Tensor, **_: Any) -> Any:
        out = self.multiply(inp, self.weight, self.bias)
        return (out, self.bias) if self.return_bias else out


class LayerNormLinear(LinearBase):
    """See Transformer Engine."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        eps: float = 1e-5,
        sequence_parallel: bool = False,
        tp_group: Any = None,
        tp_size: int = 1,
        init_method: Any = None,
        bias: bool = True,
        normalization: str = "LayerNorm",
        return_bias: bool = False,
        params_dtype: torch.dtype | None = None,
        parallel_mode: str | None = None,
        return_layernorm_output: bool = False,
        zero_centered_gamma: bool = False,
        device: Any = None,
        **_: Any,
    ) -> None:
        super().__init__(
            in_features, out_features, bias, return_bias, parallel_mode, tp_group, tp_size, sequence_parallel
        )
        self.eps, self.normalization, self.zero_centered_gamma = eps, normalization, zero_centered_gamma
        self.return_layernorm_output = return_layernorm_output
        shape = (self.in_features,)
        self.layer_norm_weight = filled(shape, float(not zero_centered_gamma), device, params_dtype)
        self.layer_norm_bias = filled(shape, 0.0, device, params_dtype) if normalization == "LayerNorm" else None
        for parameter in self.parameters():
            vars(parameter)["sequence_parallel"] = self.sequence_parallel
        self.add_linear("weight", "bias", init_method, device, params_dtype)

    def compute(self, inp: torch.Tensor, **_: Any) -> Any:
        norm = normalize(
            self.normalization, inp, self.layer_norm_weight, self.layer_norm_bias, self.eps, self.zero_centered_gamma
        )
        returned: list[torch.Tensor] = [self.multiply(norm, self.weight, self.bias)]
        if self.return_bias:
            returned.append(self.bias)
        if self.return_layernorm_output:
            returned.append(norm)
        return tuple(returned) if len(returned) > 1 else returned[0]


class GroupedLinear(LinearBase):
    """See Transformer Engine."""

    def __init__(
        self,
        num_gemms: int,
        in_features: int,
        out_features: int,
        sequence_parallel: bool = False,
        tp_group: Any = None,
        tp_size: int = 1,
        init_method: Any = None,
        bias: bool = True,
        return_bias: bool = False,
        params_dtype: torch.dtype | None = None,
        parallel_mode: str | None = None,
        device: Any = None,
        **_: Any,
    ) -> None:
        super().__init__(
            in_features, out_features, bias, return_bias, parallel_mode, tp_group, tp_size, sequence_parallel
        )
        self.num_gemms = num_gemms
        for number in range(num_gemms):
            self.add_linear(f"weight{number}", f"bias{number}", init_method, device, params_dtype)

    def compute(self, inp: torch.Tensor, m_splits: Any, **_: Any) -> Any:
        biases = [getattr(self, f"bias{number}") for number in range(self.num_gemms)]
        parts = torch.split(inp, [int(rows) for rows in m_splits])
        out = torch.cat(
            [
                self.multiply(part, getattr(self, f"weight{number}"), biases[number])
                for number, part in enumerate(parts)
            ]
        )
        return (out, biases) if self.return_bias else out
