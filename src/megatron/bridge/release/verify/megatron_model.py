# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.


"""Builds the model that Megatron-LM makes from a release's flags, without CUDA, and computes with its first layers.

The parser, the validation, the model builder and the checkpoint reader are those of the installed megatron-core.
"""

import io
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing, parallel_state
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.bridge.release.compat.megatron_core_api import CudaRNGStatesTracker
from megatron.bridge.release.compat.megatron_training_api import gpt_config_from_args
from megatron.bridge.release.compat.megatron_parser_api import parse_args, validate_args
from megatron.bridge.release.compat.megatron_training_api import GPTModelBuilder
from megatron.bridge.release.compat.torch_api import CheckpointException
from torch.overrides import TorchFunctionMode

from megatron.bridge.release.errors import NotComputableError, one_line
from megatron.bridge.release.rope_factor import ENTRY_POINT_FLAG
from megatron.bridge.release.verify.partial_load import load_part


# Flags that a run needs besides the model's, and that Megatron Core's own modules need on a host without CUDA.
_RUN_FLAGS = (
    *("--micro-batch-size", "1", "--train-iters", "1", "--lr", "1e-4", "--tokenizer-type", "NullTokenizer"),
    *("--transformer-impl", "local", "--no-persist-layer-norm", "--no-masked-softmax-fusion", "--no-rope-fusion"),
    *("--no-gradient-accumulation-fusion", "--no-bias-swiglu-fusion", "--no-bias-gelu-fusion"),
    *("--no-bias-dropout-fusion", "--distributed-backend", "gloo", "--use-cpu-initialization", "--no-initialization"),
)

# The dtype that a release is trained in; here it is computed in float32.
DTYPE_FLAGS = {"--bf16": torch.bfloat16, "--fp16": torch.float16}

_CONNECTIONS = "CUDA_DEVICE_MAX_CONNECTIONS"

# How many bytes of the checkpoint are read at a time; at least one tensor is.
_BATCH = 1 << 28


class Refused(ValueError):
    """Megatron-LM refuses the release's flags, or its tensors. The message is one line."""


@contextmanager
def megatron_lm(flags: list[str]) -> Iterator[Namespace]:
    """Start Megatron-LM on the CPU as far as its model needs, and leave nothing of it behind.

    Args:
        flags: The model's flags, as ``megatron_lm_args.txt`` holds them.

    Yields:
        Megatron-LM's validated arguments, with float32 parameters.

    Raises:
        Refused: If its parser or its validation refuses the flags.
        NotComputableError: If this process is one of several ranks, if the model needs Transformer Engine, or if it is a
            hybrid.
    """
    if dist.is_initialized() and dist.get_world_size() > 1:
        raise NotComputableError("torch.distributed runs on several ranks: it is computed in a process of its own")
    with ExitStack() as stack:
        stack.enter_context(_environment_restored())
        stack.enter_context(_cpu_for_cuda())
        # It prints all of its arguments.
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(_process_groups())
        yield _parsed(flags)


def compute(args: Namespace, folder: Path, layers: int, tokens: torch.Tensor) -> torch.Tensor:
    """Compute logits with the first layers, and with the final norm and the output layer after them.

    Args:
        args: Arguments that `megatron_lm` yields, changed in place.
        folder: Checkpoint folder.
        layers: Number of layers.
        tokens: Tokens, [1, positions].

    Returns:
        The logits, [1, positions, vocabulary] with the vocabulary's padding.

    Raises:
        Refused: If the tensors do not fit the flags.
        NotComputableError: If Megatron Core cannot build or run the model here.
    """
    of_layers = args.num_layers
    _cut(args, layers)
    positions = tokens.shape[1]
    try:
        config = gpt_config_from_args(args)
        # Megatron-LM's own function ignores it. The entry point `megatron_lm` does the same for Megatron-LM's scripts.
        config.rope_scaling_factor = args.rope_scaling_factor
        model = (
            GPTModelBuilder(config)
            .build_model(ProcessGroupCollection.use_mpu_process_groups(), pre_process=True, post_process=True)
            .eval()
        )
    except Exception as error:
        raise NotComputableError(f"Megatron Core cannot build it here ({one_line(error)})") from error
    _load(model, folder, of_layers)
    mask = torch.ones(1, 1, positions, positions, dtype=torch.bool).triu(1)
    try:
        with torch.inference_mode():
            return torch.as_tensor(model(tokens, torch.arange(positions)[None], mask))
    except Exception as error:
        raise NotComputableError(f"Megatron Core cannot run it here ({one_line(error)})") from error


def per_layer(args: Namespace) -> list[tuple[Any, ...]]:
    """Return for each layer what the arguments say of it alone; layers with equal values are of one kind."""
    values: list[list[Any]] = []
    for name, value in vars(args).items():
        if isinstance(value, list) and len(value) == args.num_layers:
            values.append(value)
        elif name.endswith("_freq") and type(value) is int and value > 1:
            # Which layer of each group is the odd one differs from argument to argument.
            values.append([layer % value for layer in range(args.num_layers)])
    return list(zip(*values)) if values else [()] * args.num_layers


def _parsed(flags: list[str]) -> Namespace:
    """Parse and validate a release's flags; see `megatron_lm` for what it raises."""
    ours = {*DTYPE_FLAGS, ENTRY_POINT_FLAG}
    words = ["pretrain_gpt.py", *_RUN_FLAGS, *(flag for flag in flags if flag not in ours)]
    stderr = io.StringIO()
    try:
        with _attributes((sys, "argv", words)), redirect_stderr(stderr):
            args = parse_args()
    except SystemExit as error:
        why = (stderr.getvalue().strip().splitlines() or [""])[-1].partition("error: ")[2]
        raise Refused(
            f"Megatron-LM's parser refuses the release's flags: {why or 'it says nothing of why'}"
        ) from error
    except Exception as error:
        raise Refused(f"Megatron-LM's parser refuses the release's flags ({one_line(error)})") from error
    # They need Transformer Engine and CUDA streams, and compute the same.
    args.moe_grouped_gemm, args.moe_token_dispatcher_type = False, "allgather"
    args.rank, args.world_size = 0, 1
    try:
        validate_args(args)
    except Exception as error:
        raise Refused(f"Megatron-LM refuses the release's flags ({one_line(error)})") from error
    if args.multi_latent_attention:
        raise NotComputableError("multi-latent attention needs Transformer Engine")
    if args.layernorm_zero_centered_gamma:
        raise NotComputableError("zero-centred norms need Transformer Engine")
    if args.hybrid_layer_pattern is not None:
        raise NotComputableError("hybrid models are not built of GPT's layers")
    checked: Namespace = args
    return checked


def _cut(args: Namespace, layers: int) -> None:
    """Reduce the arguments to the first layers, each of which keeps what the arguments say of it alone."""
    for name, value in vars(args).items():
        if isinstance(value, list) and len(value) == args.num_layers:
            setattr(args, name, value[:layers])
    # Layers that predict further tokens add nothing to the logits.
    args.num_layers, args.mtp_num_layers = layers, None


def _load(model: Any, folder: Path, of_layers: int) -> None:
    """Load the layers that the model has from a checkpoint that has ``of_layers`` of them."""
    try:
        metadata = dist_checkpointing.load_content_metadata(str(folder)) or {}
    except (Exception, CheckpointException) as error:
        # CheckpointException is no Exception.
        raise Refused(f"Megatron-LM cannot read the metadata of {folder} ({one_line(error)})") from error
    metadata["dp_cp_group"] = parallel_state.get_data_parallel_group(with_context_parallel=True)
    layers, model.config.num_layers = model.config.num_layers, of_layers
    try:
        sharded = model.sharded_state_dict(metadata=metadata)
    except Exception as error:
        raise NotComputableError(
            f"Megatron Core does not say where its tensors are stored ({one_line(error)})"
        ) from error
    finally:
        model.config.num_layers = layers
    wanted = {
        name: entry for name, entry in sharded.items() if isinstance(entry, (ShardedTensor, ShardedTensorFactory))
    }
    lacking = {name for name, _ in model.named_parameters()} - wanted.keys()
    if lacking:
        raise NotComputableError(f"Megatron Core does not say where it stores {', '.join(sorted(lacking))}")
    for batch in _batches(wanted):
        try:
            loaded = load_part(batch, folder)
        except ValueError as error:
            raise Refused(f"Megatron-LM cannot load {folder}: {error}") from error
        model.load_state_dict(loaded, strict=False)


def _batches(wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the entries in groups to load; the largest first, whose copies need most, while least is loaded."""
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


@contextmanager
def _process_groups() -> Iterator[None]:
    """Set up Megatron Core's process groups, of this process alone; groups that exist are used."""
    started = not dist.is_initialized()
    if started:
        try:
            dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined,unused-ignore]
        except Exception as error:
            raise NotComputableError(f"torch.distributed does not start here ({one_line(error)})") from error
    try:
        if parallel_state.is_initialized():
            yield
            return
        try:
            parallel_state.initialize_model_parallel()
            yield
        finally:
            groups = vars(ProcessGroupCollection.use_mpu_process_groups()).values() if not started else ()
            parallel_state.destroy_model_parallel()
            for group in {group for group in groups if isinstance(group, dist.ProcessGroup)} - {dist.group.WORLD}:
                dist.destroy_process_group(group)
    finally:
        if started:
            dist.destroy_process_group()


@contextmanager
def _environment_restored() -> Iterator[None]:
    """Restore the variables in which Megatron Core records one model's attention and then refuses another's.

    Other variables stay untouched: threads of gloo, OpenMP and tokenizers may read them meanwhile.
    """

    def recorded() -> list[str]:
        return [name for name in os.environ if name.startswith("NVTE_") or name == _CONNECTIONS]

    before = {name: os.environ.pop(name) for name in recorded()}
    # Validation asks for it in some layouts.
    os.environ[_CONNECTIONS] = "1"
    try:
        yield
    finally:
        for name in recorded():
            if name not in before:
                del os.environ[name]
        os.environ.update(before)


class _CpuForCuda(TorchFunctionMode):
    """Replaces ``device="cuda"`` by the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """See TorchFunctionMode."""
        kwargs = kwargs or {}
        if str(kwargs.get("device")).startswith("cuda"):
            kwargs["device"] = "cpu"
        return func(*args, **kwargs)


@contextmanager
def _cpu_for_cuda() -> Iterator[None]:
    """Redirect the few calls of building and computing that ask for CUDA and have no switch for it."""
    with (
        _attributes(
            (torch.cuda, "current_device", lambda: "cpu"),
            (torch.cuda, "get_device_properties", lambda device=None: SimpleNamespace(major=9, minor=0)),
            (torch.Tensor, "cuda", lambda self, *_, **__: self),
            # It switches CUDA's generators for dropout, which is not used here.
            (CudaRNGStatesTracker, "fork", lambda self, name="": nullcontext()),
        ),
        _CpuForCuda(),
    ):
        yield


@contextmanager
def _attributes(*values: tuple[Any, str, Any]) -> Iterator[None]:
    """Set attributes of objects, and restore them at the end."""
    before = [(owner, name, vars(owner).get(name)) for owner, name, _ in values]
    try:
        for owner, name, value in values:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, own in before:
            # An inherited attribute was not the object's own.
            delattr(owner, name) if own is None else setattr(owner, name, own)
