# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""What the modules share."""

from typing import Any

import torch
from torch.nn import Parameter
from torch.nn import functional as F


# Standard deviation of Transformer Engine's own initialization.
_INIT_STD = 0.023


def divide(number: int, parts: int) -> int:
    """Divide without remainder."""
    if number % parts:
        raise ValueError(f"{number} is not divisible by {parts}.")
    return number // parts


def get_dummy_wgrad(shape: Any, dtype: torch.dtype, zero: bool = False) -> torch.Tensor:
    """Return a gradient, which only trainings need."""
    raise NotImplementedError("Training needs Transformer Engine and CUDA.")


def normalize(
    normalization: str,
    inp: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    eps: float,
    zero_centered: bool,
) -> torch.Tensor:
    """Normalize in float32, as the kernels of Transformer Engine do."""
    gamma = weight.float() + 1 if zero_centered else weight.float()
    if normalization == "RMSNorm":
        return F.rms_norm(inp.float(), gamma.shape, gamma, eps).to(inp.dtype)
    if bias is None:
        raise ValueError("LayerNorm has a bias.")
    return F.layer_norm(inp.float(), gamma.shape, gamma, bias.float(), eps).to(inp.dtype)


class TransformerEngineBaseModule(torch.nn.Module):
    """Base class of the modules. `compute` is their forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.fp8_meta: dict[str, Any] = {"fp8_checkpoint": False}
        self.fp8 = self.fp8_initialized = self.fp8_calibration = self.primary_weights_in_fp8 = False
        self.tp_group: Any = None
        self.tp_size, self.sequence_parallel = 1, False
        self.parallel_mode: str | None = None

    def get_extra_state(self) -> torch.Tensor:
        """Return the state of a module that has not used FP8: empty."""
        return torch.empty(0, dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        """Accept a state, which only FP8 uses."""

    def init_fp8_metadata(self, num_gemms: int = 1) -> None:
        """Prepare FP8, which is off."""

    def set_tensor_parallel_group(self, tp_group: Any) -> None:
        """See Transformer Engine."""
        self.tp_group = tp_group

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute, on one rank and without gradients.

        Raises:
            NotImplementedError: Outside inference mode, or with tensor parallelism.
        """
        if not torch.is_inference_mode_enabled():
            raise NotImplementedError(
                "Training needs Transformer Engine and CUDA: this process has its stand-in, which computes in "
                "torch.inference_mode() only."
            )
        if self.tp_size > 1:
            raise NotImplementedError("Computing with tensor parallelism needs Transformer Engine and CUDA.")
        return self.compute(*args, **kwargs)

    def compute(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's function."""
        raise NotImplementedError


class LinearBase(TransformerEngineBaseModule):
    """What the modules with weight matrices share.

    Args:
        in_features: Size of the input.
        out_features: Size of the output.
        bias: Whether there is a bias.
        return_bias: Whether it is returned instead of added.
        parallel_mode: ``"column"``, ``"row"`` or None.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool,
        return_bias: bool,
        parallel_mode: str | None,
        tp_group: Any,
        tp_size: int,
        sequence_parallel: bool,
    ) -> None:
        super().__init__()
        self.tp_group, self.parallel_mode = tp_group, parallel_mode
        self.tp_size = tp_size if tp_group is None else tp_group.size()
        self.in_features = divide(in_features, self.tp_size) if parallel_mode == "row" else in_features
        self.out_features = divide(out_features, self.tp_size) if parallel_mode == "column" else out_features
        self.sequence_parallel = self.tp_size > 1 and sequence_parallel
        self.use_bias, self.return_bias, self.apply_bias = bias, return_bias, bias and not return_bias

    def add_linear(self, weight: str, bias: str, init_method: Any, device: Any, dtype: torch.dtype | None) -> None:
        """Add a weight, and a bias or the empty tensor that stands for none."""
        parameter = Parameter(torch.empty(self.out_features, self.in_features, device=device, dtype=dtype))
        if not parameter.is_meta:
            with torch.no_grad():
                (init_method or (lambda values: values.normal_(0.0, _INIT_STD)))(parameter)
        _mark_parallel(parameter, self.parallel_mode, 1 if self.parallel_mode == "row" else 0)
        self.register_parameter(weight, parameter)
        if not self.use_bias:
            setattr(self, bias, torch.empty(0, dtype=dtype, device=device))
            return
        parameter = filled((self.out_features,), 0.0, device, dtype)
        if self.parallel_mode == "row":
            vars(parameter)["sequence_parallel"] = self.sequence_parallel
        elif self.parallel_mode == "column":
            _mark_parallel(parameter, "column", 0)
        self.register_parameter(bias, parameter)

    def multiply(self, inp: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Multiply with a weight, and add a bias if the module does."""
        return F.linear(inp, weight.to(inp.dtype), bias.to(inp.dtype) if self.apply_bias else None)


def filled(shape: tuple[int, ...], value: float, device: Any, dtype: torch.dtype | None) -> Parameter:
    """Return a parameter of equal values."""
    parameter = Parameter(torch.empty(shape, device=device, dtype=dtype))
    if not parameter.is_meta:
        with torch.no_grad():
            parameter.fill_(value)
    return parameter


def _mark_parallel(parameter: Parameter, parallel_mode: str | None, dim: int) -> None:
    # Megatron Core reads these attributes of a parameter.
    vars(parameter).update(tensor_model_parallel=True, partition_dim=dim, partition_stride=1)
