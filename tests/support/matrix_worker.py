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

"""Reads releases with the megatron-core on the path, at every layout, and says what differs.

    OMP_NUM_THREADS=1 PYTHONPATH=CORE python matrix_worker.py RANKS OUT.json "TP=1 PP=2,TP=2 PP=2" MODEL...

The ranks are forked from one process, which has imported everything and has computed nothing. A MODEL is a folder with the Hugging Face model ``hf`` and its release ``root``.

Each rank loads its part of the model into Megatron-LM's own modules, with `load_checkpoint` where the wheel
carries Megatron-LM's training code (core 0.17 and later) and with `dist_checkpointing.load` where it does not,
and compares every parameter with its Hugging Face tensor, and the logits.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from unittest import mock


# megatron-core 0.15 builds a kernel's flags when it is imported.
os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "9.0")
os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] = "1"

import megatron.core
import torch
import torch.distributed as dist
import torch.nn.functional as F
from cpu_host import on_the_cpu
from forked_ranks import run_forked
from hf_logits import hf_logits, load_hf, wrong_logits
from megatron.core import dist_checkpointing, parallel_state
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer import TransformerConfig
from models import megatron_tensors
from roots import stored_args
from tp_layout import wrong

from megatron.bridge.release.rope_factor import ENTRY_POINT_FLAG


try:
    from megatron.core.num_microbatches_calculator import destroy_num_microbatches_calculator
    from megatron.core.tokenizers.utils.build_tokenizer import build_tokenizer
    from megatron.training import arguments, checkpointing, global_vars
except ImportError:
    arguments = None

# How Megatron-LM is told of the model.
WAYS = ("flags file", "use_checkpoint_args") if arguments else ("the release's args",)
RUN_FLAGS = [
    *("--micro-batch-size", "1", "--train-iters", "1", "--lr", "1e-4", "--distributed-backend", "gloo"),
    *("--tokenizer-type", "NullTokenizer", "--use-cpu-initialization", "--exit-on-missing-checkpoint"),
    *("--transformer-impl", "local", "--no-persist-layer-norm", "--no-rope-fusion", "--no-masked-softmax-fusion"),
    *("--no-gradient-accumulation-fusion", "--no-bias-swiglu-fusion", "--no-bias-dropout-fusion"),
]


def parsed(folder: Path, tp: int, pp: int, way: str) -> argparse.Namespace:
    """Start Megatron-LM with the release's own flags, as its `initialize_megatron` does."""
    root = folder / "root"
    flags = [
        flag
        for flag in (root / "release/megatron_lm_args.txt").read_text().split()
        if flag not in ("--bf16", ENTRY_POINT_FLAG)
    ]
    flags += ["--use-checkpoint-args"] if way == "use_checkpoint_args" else []
    layout = ["--tensor-model-parallel-size", str(tp), "--pipeline-model-parallel-size", str(pp)]
    argv = ["pretrain_gpt.py", *RUN_FLAGS, *flags, *layout, "--load", str(root), "--verify-integrity"]
    with mock.patch.object(sys, "argv", argv):
        args = arguments.parse_args()
    if args.use_checkpoint_args:
        checkpointing.load_args_from_checkpoint(args)
    arguments.validate_args(args)
    global_vars.set_global_variables(args, build_tokenizer=False)
    if way == "flags file":
        # In 0.17.1 it counts one word too many, and sets the padded size where nothing else does.
        build_tokenizer(args)
    return args


def stored(folder: Path, tp: int, pp: int, way: str) -> argparse.Namespace:
    """Take the args that the release carries, for a wheel without Megatron-LM's parser."""
    args = stored_args(folder / "root")
    args.tensor_model_parallel_size, args.pipeline_model_parallel_size = tp, pp
    args.bf16, args.params_dtype = False, torch.float32
    return args


def config_of(args: argparse.Namespace) -> TransformerConfig:
    """Give the config that Megatron-LM makes of its args: with its own function, or by its rules."""
    if arguments is not None:
        if hasattr(arguments, "core_transformer_config_from_args"):
            return arguments.core_transformer_config_from_args(args)
        from megatron.training.argument_utils import core_transformer_config_from_args

        return core_transformer_config_from_args(args)
    values = {
        field.name: getattr(args, field.name)
        for field in dataclasses.fields(TransformerConfig)
        if hasattr(args, field.name)
    }
    values |= dict(gated_linear_unit=args.swiglu, activation_func=F.silu if args.swiglu else F.gelu)
    values |= dict(use_cpu_initialization=True, persist_layer_norm=False, pipeline_dtype=torch.float32)
    values |= dict(apply_rope_fusion=False, masked_softmax_fusion=False, bias_activation_fusion=False)
    values |= dict(bias_dropout_fusion=False, gradient_accumulation_fusion=False, cp_comm_type="p2p")
    return TransformerConfig(**values)


def build(args: argparse.Namespace) -> GPTModel:
    """Build this rank's part of the model as Megatron-LM's builder does."""
    spec = get_gpt_layer_local_spec(qk_layernorm=args.qk_layernorm, normalization=args.normalization)
    rope = {name: getattr(args, name) for name in ("position_embedding_type", "rotary_base", "rotary_percent")}
    stage = {
        "pre_process": parallel_state.is_pipeline_first_stage(),
        "post_process": parallel_state.is_pipeline_last_stage(),
    }
    tied = not args.untie_embeddings_and_output_weights
    model = GPTModel(
        config_of(args),
        spec,
        args.padded_vocab_size,
        args.max_position_embeddings,
        share_embeddings_and_output_weights=tied,
        rope_scaling=args.use_rope_scaling,
        **rope,
        **stage,
    )
    return model.eval()


def load(model: GPTModel, root: Path) -> None:
    """Load the release with what the wheel carries."""
    if arguments is not None:
        checkpointing.load_checkpoint([model], None, None)
        return
    state = dist_checkpointing.load({"model": model.sharded_state_dict()}, str(root / "release"))
    model.load_state_dict(state["model"])


def logits(model: GPTModel, tokens: torch.Tensor, hidden_size: int) -> torch.Tensor | None:
    """Run the pipeline on tokens [1, length]; the whole logits [1, length, vocabulary], on its last stage."""
    length = tokens.shape[1]
    if not parallel_state.is_pipeline_first_stage():
        hidden = torch.empty(length, 1, hidden_size)
        dist.recv(hidden, parallel_state.get_pipeline_model_parallel_prev_rank())
        model.set_input_tensor(hidden)
    mask = torch.ones(1, 1, length, length, dtype=torch.bool).triu(1)
    with torch.inference_mode():
        output = model(tokens, torch.arange(length)[None], mask)
    if not parallel_state.is_pipeline_last_stage():
        dist.send(output.contiguous(), parallel_state.get_pipeline_model_parallel_next_rank())
        return None
    parts = [torch.empty_like(output) for _ in range(parallel_state.get_tensor_model_parallel_world_size())]
    dist.all_gather(parts, output.contiguous(), group=parallel_state.get_tensor_model_parallel_group())
    return torch.cat(parts, dim=-1)


def compare(folder: Path, tp: int, pp: int, way: str) -> list[str]:
    """Load the release at one layout; name what is wrong on this rank."""
    hf_model = load_hf(folder / "hf")
    args = (stored if arguments is None else parsed)(folder, tp, pp, way)
    model = build(args)
    load(model, folder / "root")
    expected = megatron_tensors(hf_model, args.padded_vocab_size, "local")
    differences = wrong(model, expected, hf_model.config.num_hidden_layers)
    torch.manual_seed(1)
    tokens = torch.randint(hf_model.config.vocab_size, (1, 512))
    found = logits(model, tokens, hf_model.config.hidden_size)
    if found is not None:
        differences += wrong_logits(found[..., : hf_model.config.vocab_size], hf_logits(hf_model, tokens))
    return differences


def read(folder: Path, tp: int, pp: int, way: str) -> list[str]:
    """Start Megatron-LM at one layout, compare, and end it again."""
    parallel_state.initialize_model_parallel(tp, pp)
    try:
        return compare(folder, tp, pp, way)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    finally:
        parallel_state.destroy_model_parallel()
        if arguments is not None:
            global_vars.destroy_global_vars()
            destroy_num_microbatches_calculator()


def main(_: int) -> None:
    """Read every model at every layout and write what every rank found."""
    out, layouts, models = Path(sys.argv[2]), sys.argv[3].split(","), [Path(folder) for folder in sys.argv[4:]]
    dist.init_process_group("gloo")
    differences: dict[str, list[str]] = {}
    with on_the_cpu():
        for layout in layouts:
            tp, pp = (int(size.partition("=")[2]) for size in layout.split())
            mine = [
                f"{model.name}, {way}: {what}" for model in models for way in WAYS for what in read(model, tp, pp, way)
            ]
            ranks: list = [None] * dist.get_world_size()
            dist.all_gather_object(ranks, mine)
            differences[layout] = sorted(set(sum(ranks, [])))
    if dist.get_rank() == 0:
        reader = "dist_checkpointing.load" if arguments is None else "load_checkpoint"
        # In a git repository, it adds the commit.
        core = megatron.core.__version__.partition("+")[0]
        out.write_text(json.dumps({"core": core, "reader": reader, "differences": differences}))
    dist.destroy_process_group()


sys.exit(1 if any(run_forked(int(sys.argv[1]), main)) else 0)
