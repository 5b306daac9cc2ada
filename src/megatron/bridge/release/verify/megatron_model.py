# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Computes logits with the first layers of a release in Megatron-LM, on the CPU.

The parser, the validation, the model builder and the checkpoint reader are those of the installed megatron-core.
"""

import io
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing, parallel_state
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from megatron.core.process_groups_config import ProcessGroupCollection

from megatron.bridge.release.compat.megatron_parser_api import parse_args, validate_args
from megatron.bridge.release.compat.megatron_training_api import GPTModelBuilder, gpt_config_from_args
from megatron.bridge.release.compat.torch_api import CheckpointException
from megatron.bridge.release.errors import NotComputableError, one_line
from megatron.bridge.release.rope_factor import ENTRY_POINT_FLAG
from megatron.bridge.release.verify.partial_load import load_partial
from megatron.bridge.utils.cpu_fallbacks import computing_on_cpu
from megatron.bridge.utils.single_process import model_parallel_groups, preserve_environment


# Flags that Megatron-LM requires for a run, and for a model without CUDA.
_RUN_FLAGS = (
    *("--micro-batch-size", "1", "--train-iters", "1", "--lr", "1e-4", "--tokenizer-type", "NullTokenizer"),
    *("--transformer-impl", "transformer_engine", "--no-masked-softmax-fusion", "--no-rope-fusion"),
    *("--no-gradient-accumulation-fusion", "--no-bias-swiglu-fusion", "--no-bias-gelu-fusion"),
    *("--no-bias-dropout-fusion", "--distributed-backend", "gloo", "--use-cpu-initialization", "--no-initialization"),
)

# The dtype of a training. The logit check computes in float32.
DTYPE_FLAGS = {"--bf16": torch.bfloat16, "--fp16": torch.float16}

# Bytes of the checkpoint that are loaded at a time, unless one tensor is larger.
_BATCH = 1 << 28


class RejectedError(ValueError):
    """Megatron-LM rejects the release's flags or its tensors. `RejectedReleaseError` adds what to do."""


@contextmanager
def megatron_lm(flags: list[str]) -> Iterator[Namespace]:
    """Initialize Megatron-LM on the CPU for the flags of a model, yield its validated arguments, and restore all state.

    Raises:
        RejectedError: If Megatron-LM rejects the flags.
        NotComputableError: If this process is one of several ranks, or if the model is a hybrid.
    """
    if dist.is_initialized() and dist.get_world_size() > 1:
        raise NotComputableError("torch.distributed runs on several ranks. Run the check in a process of its own")
    with ExitStack() as stack:
        # Validation requires it in some layouts.
        stack.enter_context(preserve_environment(CUDA_DEVICE_MAX_CONNECTIONS="1"))
        stack.enter_context(computing_on_cpu())
        # Compiling takes longer than computing a few hundred positions.
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        # It prints all of its arguments.
        stack.enter_context(redirect_stdout(io.StringIO()))
        try:
            stack.enter_context(model_parallel_groups())
        except Exception as error:
            raise NotComputableError(f"torch.distributed does not start here ({one_line(error)})") from error
        yield _parsed(flags)


def compute(args: Namespace, folder: Path, layers: int, tokens: torch.Tensor) -> torch.Tensor:
    """Compute logits with the first layers, the final norm and the output layer, in float32.

    Args:
        args: Arguments that `megatron_lm` yields, changed in place.
        folder: The release.
        layers: Number of layers.
        tokens: Tokens, [1, positions].

    Returns:
        The logits, [1, positions, padded vocabulary].

    Raises:
        RejectedError: If the tensors do not match the flags.
        NotComputableError: If Megatron Core cannot build or run the model on this host.
    """
    total_layers = args.num_layers
    _cut(args, layers)
    positions = tokens.shape[1]
    try:
        config = gpt_config_from_args(args)
        # Megatron-LM's builder ignores it. The entry point `megatron_lm` sets it for Megatron-LM's scripts.
        config.rope_scaling_factor = args.rope_scaling_factor
        model = (
            GPTModelBuilder(config)
            .build_model(ProcessGroupCollection.use_mpu_process_groups(), pre_process=True, post_process=True)
            .eval()
        )
    except Exception as error:
        raise NotComputableError(f"Megatron Core cannot build it here ({one_line(error)})") from error
    _load(model, folder, total_layers)
    mask = torch.ones(1, 1, positions, positions, dtype=torch.bool).triu(1)
    try:
        with torch.inference_mode():
            return torch.as_tensor(model(tokens, torch.arange(positions)[None], mask))
    except Exception as error:
        raise NotComputableError(f"Megatron Core cannot run it here ({one_line(error)})") from error


def per_layer(args: Namespace) -> list[tuple[Any, ...]]:
    """Return the arguments of each layer that differ between layers; they are equal for layers of the same type."""
    values: list[list[Any]] = []
    for name, value in vars(args).items():
        if isinstance(value, list) and len(value) == args.num_layers:
            values.append(value)
        elif name.endswith("_freq") and type(value) is int and value > 1:
            # The offset of the special layer in each group depends on the argument.
            values.append([layer % value for layer in range(args.num_layers)])
    return list(zip(*values)) if values else [()] * args.num_layers


def _parsed(flags: list[str]) -> Namespace:
    """Parse and validate the flags of a release. Raise what `megatron_lm` documents."""
    ignored = {*DTYPE_FLAGS, ENTRY_POINT_FLAG}
    argv = ["pretrain_gpt.py", *_RUN_FLAGS, *(flag for flag in flags if flag not in ignored)]
    stderr = io.StringIO()
    try:
        with mock.patch.object(sys, "argv", argv), redirect_stderr(stderr):
            args = parse_args()
    except SystemExit as error:
        reason = (stderr.getvalue().strip().splitlines() or [""])[-1].partition("error: ")[2]
        raise RejectedError(f"Megatron-LM rejects the release's flags: {reason or 'no error message'}") from error
    except Exception as error:
        raise RejectedError(f"Megatron-LM rejects the release's flags: {one_line(error)}") from error
    # The default needs CUDA streams, and computes the same.
    args.moe_token_dispatcher_type = "allgather"
    args.rank, args.world_size = 0, 1
    try:
        validate_args(args)
    except Exception as error:
        raise RejectedError(f"Megatron-LM rejects the release's flags: {one_line(error)}") from error
    if args.hybrid_layer_pattern is not None:
        raise NotComputableError("hybrid models are not supported")
    checked: Namespace = args
    return checked


def _cut(args: Namespace, layers: int) -> None:
    """Reduce the arguments to the first layers."""
    for name, value in vars(args).items():
        if isinstance(value, list) and len(value) == args.num_layers:
            setattr(args, name, value[:layers])
    # Multi-token prediction does not change the logits.
    args.num_layers, args.mtp_num_layers = layers, None


def _load(model: Any, folder: Path, total_layers: int) -> None:
    """Load the layers of a model from a checkpoint that has ``total_layers`` of them."""
    try:
        metadata = dist_checkpointing.load_content_metadata(str(folder)) or {}
    except (Exception, CheckpointException) as error:
        # CheckpointException is a BaseException.
        raise RejectedError(f"Megatron-LM cannot read the metadata of {folder} ({one_line(error)})") from error
    metadata["dp_cp_group"] = parallel_state.get_data_parallel_group(with_context_parallel=True)
    layers, model.config.num_layers = model.config.num_layers, total_layers
    try:
        sharded = model.sharded_state_dict(metadata=metadata)
    except Exception as error:
        raise NotComputableError(
            f"Megatron Core does not return its sharded state dict ({one_line(error)})"
        ) from error
    finally:
        model.config.num_layers = layers
    wanted = {
        name: entry for name, entry in sharded.items() if isinstance(entry, (ShardedTensor, ShardedTensorFactory))
    }
    missing = {name for name, _ in model.named_parameters()} - wanted.keys()
    if missing:
        raise NotComputableError(f"the sharded state dict of Megatron Core lacks {', '.join(sorted(missing))}")
    for batch in _batches(wanted):
        try:
            loaded = load_partial(batch, folder)
        except ValueError as error:
            raise RejectedError(f"Megatron-LM cannot load {folder}: {error}") from error
        model.load_state_dict(loaded, strict=False)


def _batches(wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the entries in groups to load: the largest first, as long as little memory is used."""
    batch: dict[str, Any] = {}
    size = 0
    for name in sorted(wanted, key=lambda name: -wanted[name].data.nbytes):
        batch[name] = wanted[name]
        size += wanted[name].data.nbytes
        if size >= _BATCH:
            yield batch
            batch, size = {}, 0
    if batch:
        yield batch
