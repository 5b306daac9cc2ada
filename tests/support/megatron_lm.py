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

"""Megatron-LM's own argument parser, model builder and checkpoint loader, for the tests.

All of it is the code of the installed megatron-core wheel. On the CPU the few calls that ask for a device are answered
with it; nothing that a test looks at is changed.
"""

import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Iterator
from unittest import mock

import torch
import torch.distributed as dist
from cpu_host import on_the_cpu
from megatron.core import parallel_state
from megatron.core.num_microbatches_calculator import destroy_num_microbatches_calculator
from megatron.core.process_groups_config import ProcessGroupCollection
from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed
from megatron.core.tokenizers.utils.build_tokenizer import vocab_size_with_padding
from megatron.training import global_vars
from megatron.training.argument_utils import gpt_config_from_args
from megatron.training.arguments import parse_args, validate_args
from megatron.training.checkpointing import load_args_from_checkpoint, load_checkpoint
from megatron.training.models import GPTModelBuilder
from transformers import LlamaConfig

from megatron.bridge.release.layout import FLAGS_FILE
from megatron.bridge.release.rope_factor import ENTRY_POINT_FLAG
from megatron.bridge.utils.te_requirements import has_stand_in


# What a Megatron-LM run needs besides the model and the checkpoint.
_RUN_FLAGS = [
    *("--micro-batch-size", "1", "--train-iters", "1", "--lr", "1e-4", "--tokenizer-type", "NullTokenizer"),
    *("--no-persist-layer-norm", "--no-masked-softmax-fusion", "--no-rope-fusion"),
    *("--no-gradient-accumulation-fusion", "--no-bias-swiglu-fusion", "--no-bias-dropout-fusion"),
    # On a GPU, too, whose powers differ from the CPU's in the last places: at a thousand positions the rotary angles
    # make that as large as the bound of the logits.
    "--use-cpu-initialization",
]
_MODULES = "transformer_engine" if has_stand_in() else "local"
# What torch.distributed and Megatron-LM work with on each device.
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


def llama_flags(config: LlamaConfig, padded_vocab_size: int | None = None) -> list[str]:
    """Give the flags with which Megatron-LM builds the model of a Hugging Face Llama config.

    Written from the two parsers' documentation, not from the code under test.
    """
    rope = config.rope_parameters
    flags = {
        "--num-layers": config.num_hidden_layers,
        "--hidden-size": config.hidden_size,
        "--ffn-hidden-size": config.intermediate_size,
        "--num-attention-heads": config.num_attention_heads,
        "--num-query-groups": config.num_key_value_heads,
        "--kv-channels": config.head_dim,
        "--seq-length": 64,
        "--max-position-embeddings": config.max_position_embeddings,
        "--norm-epsilon": config.rms_norm_eps,
        "--rotary-base": int(rope["rope_theta"]),
        "--vocab-size": padded_vocab_size or config.vocab_size,
        "--make-vocab-size-divisible-by": 1,
    }
    switches = ["--swiglu", "--disable-bias-linear", "--group-query-attention"]
    switches += ["--position-embedding-type", "rope", "--normalization", "RMSNorm"]
    switches += ["--attention-dropout", "0", "--hidden-dropout", "0"]
    if not config.tie_word_embeddings:
        switches.append("--untie-embeddings-and-output-weights")
    if rope["rope_type"] == "llama3":
        switches.append("--use-rope-scaling")
    return [word for flag, value in flags.items() for word in (flag, str(value))] + switches


def release_flags(root: Path, without: tuple[str, ...] = (), load_from: Path | None = None) -> list[str]:
    """Give the flags that a release carries and those that load it, for float32.

    Args:
        root: The release's root.
        without: How flags begin that are left out.
        load_from: Another root to load.
    """
    flags = (root / "release" / FLAGS_FILE).read_text().split()
    flags = [flag for flag in flags if not flag.startswith(("--bf16", *without))]
    return [*flags, "--load", str(load_from or root), "--exit-on-missing-checkpoint"]


# A training of Megatron-LM's own modules writes no extra states, which the norm after the last layer asks for in a process
# with the stand-in for Transformer Engine.
TRAINED_LOCALLY = ("--transformer-impl", "local", "--dist-ckpt-strictness", "ignore_all")


@contextmanager
def _in_float32() -> Iterator[None]:
    """Multiply float32 matrices in float32, where an image has switched TF32 on: its ten bits are beyond any bound."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def megatron_lm(flags: list[str], device: str = "cpu") -> Iterator:
    """Start Megatron-LM as far as a checkpoint needs, and end it again.

    In this process alone, or over the process group that there is.

    Args:
        flags: Command line, without what any run needs.
        device: "cpu" or "cuda".

    Yields:
        Megatron-LM's validated arguments.
    """
    run_flags = [*_RUN_FLAGS, "--distributed-backend", BACKENDS[device], "--transformer-impl", _MODULES]
    with ExitStack() as stack:
        stack.enter_context(on_the_cpu() if device == "cpu" else _in_float32())
        # As the entry point of Megatron-LM's scripts removes it.
        flags = [flag for flag in flags if flag != ENTRY_POINT_FLAG]
        stack.enter_context(mock.patch.object(sys, "argv", ["pretrain_gpt.py", *run_flags, *flags]))
        args = parse_args()
        if args.use_checkpoint_args:
            load_args_from_checkpoint(args, load_arg="pretrained_checkpoint")
            load_args_from_checkpoint(args)
        # Only Transformer Engine's experts are multiplied in groups; what is computed is the same.
        args.moe_grouped_gemm = args.moe_grouped_gemm and args.transformer_impl != "local"
        if device == "cpu":
            # The other one needs CUDA streams.
            args.moe_token_dispatcher_type = "allgather"
        started = not dist.is_initialized()
        if started:
            dist.init_process_group(BACKENDS[device], store=dist.HashStore(), rank=0, world_size=1)
        try:
            with mock.patch.dict("os.environ", CUDA_DEVICE_MAX_CONNECTIONS="1"):
                args.rank, args.world_size = dist.get_rank(), dist.get_world_size()
                validate_args(args)
            parallel_state.initialize_model_parallel(
                tensor_model_parallel_size=args.tensor_model_parallel_size,
                pipeline_model_parallel_size=args.pipeline_model_parallel_size,
                expert_model_parallel_size=args.expert_model_parallel_size,
            )
            if device == "cuda":
                # Dropout asks for Megatron Core's own generators, even where nothing is dropped.
                model_parallel_cuda_manual_seed(args.seed)
            global_vars.set_global_variables(args, build_tokenizer=False)
            if args.padded_vocab_size is None:
                args.padded_vocab_size = vocab_size_with_padding(args.vocab_size, args)
            yield args
        finally:
            global_vars.destroy_global_vars()
            destroy_num_microbatches_calculator()
            parallel_state.destroy_model_parallel()
            if started:
                dist.destroy_process_group()


def build(args, **forgotten) -> torch.nn.Module:
    """Build this rank's part of Megatron-LM's model of the arguments.

    Args:
        args: Megatron-LM's arguments.
        **forgotten: Fields of the config that its own function does not take from the arguments.
    """
    config = gpt_config_from_args(args)
    for name, value in forgotten.items():
        setattr(config, name, value)
    groups = ProcessGroupCollection.use_mpu_process_groups()
    return GPTModelBuilder(config).build_model(
        groups,
        pre_process=parallel_state.is_pipeline_first_stage(),
        post_process=parallel_state.is_pipeline_last_stage(),
    )


def load(args, **forgotten) -> tuple[torch.nn.Module, int]:
    """Build Megatron-LM's model of the arguments and load ``--load`` into it with its own loader.

    Args:
        args: Megatron-LM's arguments.
        **forgotten: As for `build`.

    Returns:
        This rank's model and the iteration.
    """
    model = build(args, **forgotten).eval()
    if args.distributed_backend == BACKENDS["cuda"]:
        model.cuda()
    iteration, _ = load_checkpoint([model], None, None)
    return model, iteration


def logits(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Run a whole (TP=1, PP=1) model on tokens [batch, length]; logits [batch, length, vocabulary] on the CPU."""
    device = next(model.parameters()).device
    tokens = tokens.to(device)
    length = tokens.shape[1]
    positions = torch.arange(length, device=device).expand_as(tokens)
    mask = torch.ones(1, 1, length, length, dtype=torch.bool, device=device).triu(1)
    with torch.inference_mode():
        return model(tokens, positions, mask).cpu()


def greedy(model: torch.nn.Module, tokens: torch.Tensor, count: int, vocab_size: int) -> list[int]:
    """Continue tokens [1, length] greedily by `count` tokens."""
    for _ in range(count):
        best = logits(model, tokens)[:, -1, :vocab_size].argmax(-1, keepdim=True)
        tokens = torch.cat([tokens, best], dim=1)
    return tokens[0, -count:].tolist()
